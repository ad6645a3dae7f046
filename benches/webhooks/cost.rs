//! What something costs: CPU time and time spent waiting for a core, from the scheduler's own count in nanoseconds.
//!
//! Waiting for a core is the work of others on this machine. It is how noisy rounds are told from quiet ones.

use std::fs;
use std::ops::Sub;
use std::time::Duration;

/// Nanoseconds since a process or thread began.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// On a core.
    pub(crate) cpu: u64,
    /// Ready, but not on a core.
    pub(crate) waited: u64,
}

impl Sub for Cost {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { cpu: self.cpu - before.cpu, waited: self.waited.saturating_sub(before.waited) }
    }
}

impl Cost {
    /// Of all threads of a process. Those that have ended are not counted: no server here ends any while it is measured.
    pub(crate) fn of_process(pid: u32) -> Self {
        let mut sum = Self::default();
        for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
            let one = Self::read(&task.path().join("schedstat").display().to_string());
            sum = Self { cpu: sum.cpu + one.cpu, waited: sum.waited + one.waited };
        }
        sum
    }

    /// Of this thread. The count is brought up to date when a thread leaves its core, so it leaves it for a moment.
    pub(crate) fn of_thread() -> Self {
        std::thread::sleep(Duration::from_micros(1));
        Self::read("/proc/thread-self/schedstat")
    }

    fn read(path: &str) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut numbers = text.split_whitespace().map(|number| number.parse().unwrap_or_default());
        Self { cpu: numbers.next().unwrap_or_default(), waited: numbers.next().unwrap_or_default() }
    }
}

/// A line of `/proc/PID/status`, in MiB.
pub(crate) fn memory(pid: u32, key: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap();
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
}
