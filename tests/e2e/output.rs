//! Programs that tests run, what they said, and how to wait for something.
//!
//! In: a command and its stdin. Out: [`Output`], which a test must call right or wrong. Nothing here knows a cluster.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Tries until there is an answer; fails with `what` after `limit`.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a program said.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) command: String,
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// Its stdout; it must have worked, and without a warning.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{}\n{}", self.command, self.stdout);
        self.stdout
    }

    /// Its stdout; it must have worked, whatever it had to say about it.
    #[allow(dead_code, reason = "for Helm, on a node")]
    #[track_caller]
    pub(crate) fn works(self) -> String {
        assert_eq!(self.code, 0, "{}\n{}\n{}", self.command, self.stdout, self.stderr);
        self.stdout
    }

    /// Its stderr; it must have failed.
    #[track_caller]
    pub(crate) fn fails(self) -> String {
        assert_ne!(self.code, 0, "{}\n{}", self.command, self.stdout);
        self.stderr
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command, stdin: &str) -> Output {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let mut pipe = child.stdin.take().unwrap();
    let input = stdin.to_owned();
    let writer = std::thread::spawn(move || drop(pipe.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Output {
        command: words.join(" "),
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
