//! Whether a group has enough members that are available.
//!
//! In: the health policy and the members. Out: the count of each state, and a [`Verdict`]. Exact: shares are compared as
//! whole numbers, never rounded. A Cold member is available, since the first call wakes it; a failing one is, until it
//! has failed too often in a row.

use mcp_hangar_api::v1beta1::group::HealthPolicy;
use mcp_hangar_api::v1beta1::provider::ProviderState;

use super::member::Member;

/// What is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How many must be available.
    pub least: Least,
    /// Failures in a row from which on a member is not available.
    pub unhealthy_threshold: u32,
}

/// How many must be available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Least {
    /// So many of a hundred.
    Percentage(u32),
    /// So many.
    Count(u32),
}

/// How many members there are, by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub all: usize,
    /// Those that are available.
    pub available: usize,
    /// Those that may become available by themselves: they start, or nobody has looked at them yet.
    pub starting: usize,
    /// Asleep.
    pub cold: usize,
    /// Starting.
    pub initializing: usize,
    /// Ready.
    pub ready: usize,
    /// Failing.
    pub degraded: usize,
    /// Given up.
    pub dead: usize,
}

/// Whether it is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Met,
    /// It is not.
    NotMet {
        /// It will be, once the members that start are there.
        is_starting: bool,
    },
    /// There are no members, and so there is nothing to call, whatever the policy says.
    NoProviders,
}

impl Policy {
    /// Reads one; what is absent or out of range counts as the default.
    pub fn of(written: &HealthPolicy) -> Self {
        let HealthPolicy { min_healthy_percentage, min_healthy_count, unhealthy_threshold } = written;
        let number = |number: &Option<i32>| number.and_then(|number| u32::try_from(number).ok());
        let least = match number(min_healthy_count) {
            Some(count) => Least::Count(count),
            None => {
                Least::Percentage(number(min_healthy_percentage).filter(|share| *share <= 100).unwrap_or(50))
            }
        };
        let threshold = number(unhealthy_threshold).filter(|threshold| *threshold > 0);
        Self { least, unhealthy_threshold: threshold.unwrap_or(3) }
    }

    /// Whether a call to this member makes sense.
    pub fn is_available(&self, member: &Member) -> bool {
        match member.state {
            Some(ProviderState::Cold) => true,
            Some(ProviderState::Ready | ProviderState::Degraded) => {
                member.failures < self.unhealthy_threshold.min(member.most_failures.max(1))
            }
            Some(ProviderState::Initializing | ProviderState::Dead) | None => false,
        }
    }

    /// Counts the members.
    pub fn count<'a>(&self, members: impl IntoIterator<Item = &'a Member>) -> Counts {
        let mut counts = Counts::default();
        for member in members {
            counts.all += 1;
            counts.available += usize::from(self.is_available(member));
            let (of_state, is_starting) = match member.state {
                Some(ProviderState::Cold) => (&mut counts.cold, false),
                Some(ProviderState::Initializing) => (&mut counts.initializing, true),
                Some(ProviderState::Ready) => (&mut counts.ready, false),
                Some(ProviderState::Degraded) => (&mut counts.degraded, false),
                Some(ProviderState::Dead) => (&mut counts.dead, false),
                None => {
                    counts.starting += 1;
                    continue;
                }
            };
            *of_state += 1;
            counts.starting += usize::from(is_starting);
        }
        counts
    }

    /// Whether so many are enough.
    pub fn judge(&self, counts: &Counts) -> Verdict {
        if counts.all == 0 {
            Verdict::NoProviders
        } else if self.is_met(counts.available, counts.all) {
            Verdict::Met
        } else {
            Verdict::NotMet { is_starting: self.is_met(counts.available + counts.starting, counts.all) }
        }
    }

    fn is_met(&self, available: usize, all: usize) -> bool {
        match self.least {
            Least::Count(count) => available >= usize::try_from(count).unwrap_or(usize::MAX),
            Least::Percentage(share) => {
                let share = usize::try_from(share).unwrap_or(usize::MAX);
                available.saturating_mul(100) >= share.saturating_mul(all)
            }
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::of(&HealthPolicy::default())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use mcp_hangar_webhooks::defaulting::{Default as Filled, table};
    use mcp_hangar_webhooks::kind::Kind;
    use proptest::prelude::*;

    use super::*;

    /// Members by letters: C(old), I(nitializing), R(eady), D(egraded), X (dead), - (unknown); a digit is the failures of
    /// the one before it.
    pub(crate) fn members(text: &str) -> Vec<Member> {
        let mut all: Vec<Member> = Vec::new();
        for letter in text.chars() {
            if let Some(failures) = letter.to_digit(10) {
                all.last_mut().unwrap().failures = failures;
                continue;
            }
            let state = match letter {
                'C' => Some(ProviderState::Cold),
                'I' => Some(ProviderState::Initializing),
                'R' => Some(ProviderState::Ready),
                'D' => Some(ProviderState::Degraded),
                'X' => Some(ProviderState::Dead),
                _ => None,
            };
            all.push(Member {
                name: format!("m{}", all.len()).into(),
                state,
                weight: 1,
                priority: 100,
                endpoint: Some(format!("http://m{}.team.svc:8080/mcp", all.len())),
                failures: if letter == 'D' { 3 } else { 0 },
                most_failures: 5,
                checked_at: None,
            });
        }
        all
    }

    fn policy(text: &str) -> Policy {
        Policy::of(&serde_saphyr::from_str(text).unwrap())
    }

    #[test]
    fn members_are_counted_and_judged_exactly() {
        use Verdict::{Met, NoProviders, NotMet};
        let waits = NotMet { is_starting: true };
        let fails = NotMet { is_starting: false };
        for (written, text, expected) in [
            ("{}", "", NoProviders),
            ("{minHealthyCount: 0}", "", NoProviders),
            ("{minHealthyPercentage: 0}", "", NoProviders),
            ("{minHealthyPercentage: 0}", "XX", Met),
            ("{minHealthyCount: 0}", "XX", Met),
            ("{}", "R", Met),
            ("{}", "RX", Met),
            ("{}", "RXX", fails),
            // 1 of 3 is 33 %, and not 34.
            ("{minHealthyPercentage: 33}", "RXX", Met),
            ("{minHealthyPercentage: 34}", "RXX", fails),
            ("{minHealthyPercentage: 67}", "RRX", fails),
            ("{minHealthyPercentage: 66}", "RRX", Met),
            ("{minHealthyPercentage: 100}", "RRC", Met),
            ("{minHealthyPercentage: 100}", "RRI", waits),
            // Asleep is available, starting is not yet.
            ("{}", "CC", Met),
            ("{}", "II", waits),
            ("{}", "--", waits),
            ("{}", "IXX", fails),
            ("{}", "R-XX", waits),
            // A count overrides a percentage.
            ("{minHealthyCount: 1, minHealthyPercentage: 100}", "RXX", Met),
            ("{minHealthyCount: 3, minHealthyPercentage: 0}", "RR", fails),
            ("{minHealthyCount: 3}", "RRI", waits),
            // A failing member is available until it has failed too often.
            ("{minHealthyCount: 1}", "D", fails),
            ("{minHealthyCount: 1, unhealthyThreshold: 4}", "D3", Met),
            ("{minHealthyCount: 1, unhealthyThreshold: 4}", "D4", fails),
            ("{minHealthyCount: 1, unhealthyThreshold: 1}", "R1", fails),
            ("{minHealthyCount: 1, unhealthyThreshold: 1}", "R", Met),
            ("{minHealthyCount: 1, unhealthyThreshold: 2}", "R1", Met),
            // The provider itself counts to 5 and no further.
            ("{minHealthyCount: 1, unhealthyThreshold: 100}", "D4", Met),
            ("{minHealthyCount: 1, unhealthyThreshold: 100}", "D5", fails),
            ("{minHealthyCount: 1, unhealthyThreshold: 100}", "X1", fails),
        ] {
            let members = members(text);
            let policy = policy(written);
            let counts = policy.count(&members);
            assert_eq!(policy.judge(&counts), expected, "{written} {text}: {counts:?}");
        }
        let counts = Policy::default().count(&members("CIRRDX-"));
        assert_eq!(
            counts,
            Counts {
                all: 7,
                available: 3,
                starting: 2,
                cold: 1,
                initializing: 1,
                ready: 2,
                degraded: 1,
                dead: 1
            }
        );
    }

    #[test]
    fn what_is_absent_means_what_the_webhook_would_have_filled_in() {
        let block = table(Kind::Group).iter().find_map(|default| match default {
            Filled::Block("healthPolicy", members) => Some(*members),
            _ => None,
        });
        let threshold = block.unwrap().iter().find_map(|default| match default {
            Filled::Leaf("unhealthyThreshold", text) => text.parse().ok(),
            _ => None,
        });
        assert_eq!(Some(Policy::default().unhealthy_threshold), threshold);
        let share = block.unwrap().iter().find_map(|default| match default {
            Filled::Computed("minHealthyPercentage", of) => {
                of(&mcp_hangar_webhooks::json::Json::parse("{}").ok()?.as_object()?.clone())
            }
            _ => None,
        });
        assert_eq!(Policy::default().least, Least::Percentage(share.unwrap().parse().unwrap()));
        assert_eq!(policy("{minHealthyPercentage: 101, unhealthyThreshold: 0}"), Policy::default());
        assert_eq!(policy("{minHealthyCount: -1}"), Policy::default());
    }

    proptest! {
        #[test]
        fn states_add_up_and_a_member_that_recovers_never_makes_it_worse(
            text in "[CIRDX-]{1,30}", share in 0u32..=100, count in proptest::option::of(0u32..40),
            threshold in 1u32..8, at in 0usize..30,
        ) {
            let least = count.map_or(Least::Percentage(share), Least::Count);
            let policy = Policy { least, unhealthy_threshold: threshold };
            let mut members = members(&text);
            let counts = policy.count(&members);
            let unknown = members.iter().filter(|member| member.state.is_none()).count();
            prop_assert_eq!(counts.cold + counts.initializing + counts.ready + counts.degraded + counts.dead + unknown,
                counts.all);
            prop_assert_eq!(counts.starting, counts.initializing + unknown);
            prop_assert!(counts.available + counts.starting <= counts.all);
            let before = policy.judge(&counts);
            let place = at % members.len();
            members[place].state = Some(ProviderState::Ready);
            members[place].failures = 0;
            let after = policy.judge(&policy.count(&members));
            prop_assert!(before != Verdict::Met || after == Verdict::Met, "{:?} {:?}", before, after);
        }
    }
}
