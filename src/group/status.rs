//! The status of a group, and the write that brings it there.
//!
//! In: the group's spec taken apart, its members, the status as it is, the time. Out: the status as it should be, and a
//! merge patch that holds only what differs, or none: when members were probed is written along with the next change,
//! and is no reason to write. What a data path needs to route is all there: state, weight, priority and endpoint of each
//! member. Sending the patch is left to others.

use k8s_openapi::jiff::Timestamp;
use mcp_hangar_api::shape::STATUS_ITEMS;
use mcp_hangar_api::v1beta1::group::{GroupMember, MCPProviderGroupStatus};
use serde_json::{Value, json};

use super::conditions::{Facts, conditions};
use super::health::Policy;
use super::member::Member;
use super::selector::Selector;
use crate::difference::Difference;

/// Bytes of JSON that the list of members may take: etcd takes 1.5 MiB for a whole object.
pub const MOST_BYTES: usize = 1_000_000;

/// A group as it is to be judged.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// The generation that was looked at.
    pub generation: i64,
    /// Whom it selects; `None` where that cannot be read.
    pub selector: Option<&'a Selector>,
    /// What is enough.
    pub policy: Policy,
    /// Which field breaks a rule, and how to mend it.
    pub invalid: Option<&'a str>,
}

/// The status as it should be, by the one that is. Members are sorted by name.
pub fn status(
    about: &About<'_>,
    members: &[&Member],
    old: &MCPProviderGroupStatus,
    now: Timestamp,
) -> MCPProviderGroupStatus {
    let About { namespace, generation, selector, policy, invalid } = *about;
    let counts = policy.count(members.iter().copied());
    let providers = named(namespace, members, old);
    let named = (providers.len() < members.len()).then_some(providers.len());
    let facts = Facts { generation, namespace, selector, policy, invalid, counts, named };
    MCPProviderGroupStatus {
        provider_count: number(counts.all),
        ready_count: number(counts.ready),
        degraded_count: number(counts.degraded),
        cold_count: number(counts.cold),
        dead_count: number(counts.dead),
        initializing_count: number(counts.initializing),
        // Nothing carries traffic: no strategy is in use, whatever the spec wishes.
        active_strategy: None,
        providers,
        observed_generation: Some(generation),
        conditions: conditions(&facts, members, &old.conditions, now),
    }
}

/// The first by name, as many as a status holds.
fn named(namespace: &str, members: &[&Member], old: &MCPProviderGroupStatus) -> Vec<GroupMember> {
    let mut before = old.providers.iter().peekable();
    let mut room = MOST_BYTES;
    let mut all = Vec::with_capacity(members.len().min(STATUS_ITEMS));
    for member in members.iter().take(STATUS_ITEMS) {
        let Member { name, state, weight, priority, endpoint, failures: _, most_failures: _, checked_at } =
            member;
        let Some(left) = room.checked_sub(weigh(namespace, member)) else { break };
        room = left;
        while before.next_if(|old| *old.name < **name).is_some() {}
        // Whoever carries traffic writes it; it is theirs.
        let active_connections =
            before.peek().filter(|old| *old.name == **name).and_then(|old| old.active_connections);
        all.push(GroupMember {
            name: name.to_string(),
            namespace: namespace.to_owned(),
            state: *state,
            weight: Some(*weight),
            priority: Some(*priority),
            endpoint: endpoint.clone(),
            active_connections,
            last_health_check: checked_at.clone(),
        });
    }
    all
}

/// No less than its JSON takes: fixed names, numbers and times, and the texts with room for escapes.
fn weigh(namespace: &str, member: &Member) -> usize {
    const FIXED: usize = 184;
    let endpoint = member.endpoint.as_deref().map_or(0, |endpoint| json!(endpoint).to_string().len());
    FIXED + namespace.len() + member.name.len() + endpoint
}

fn number(count: usize) -> Option<i32> {
    Some(i32::try_from(count).unwrap_or(i32::MAX))
}

/// The patch from `old` to `new`.
pub fn patch(
    old: &MCPProviderGroupStatus,
    new: &MCPProviderGroupStatus,
    resource_version: &str,
) -> Option<Value> {
    if !is_news(old, new) {
        return None;
    }
    Some(Difference::between(old, new)?.patch(resource_version))
}

/// Whether more differs than when members were probed.
fn is_news(old: &MCPProviderGroupStatus, new: &MCPProviderGroupStatus) -> bool {
    let same = |old: &GroupMember, new: &GroupMember| {
        let GroupMember {
            name,
            namespace,
            state,
            weight,
            priority,
            endpoint,
            active_connections,
            last_health_check: _,
        } = new;
        (name, namespace, state, weight, priority, endpoint, active_connections)
            == (
                &old.name,
                &old.namespace,
                &old.state,
                &old.weight,
                &old.priority,
                &old.endpoint,
                &old.active_connections,
            )
    };
    let MCPProviderGroupStatus {
        provider_count,
        ready_count,
        degraded_count,
        cold_count,
        dead_count,
        initializing_count,
        active_strategy,
        providers,
        observed_generation,
        conditions,
    } = new;
    (provider_count, ready_count, degraded_count, cold_count, dead_count, initializing_count)
        != (
            &old.provider_count,
            &old.ready_count,
            &old.degraded_count,
            &old.cold_count,
            &old.dead_count,
            &old.initializing_count,
        )
        || (active_strategy, observed_generation, conditions)
            != (&old.active_strategy, &old.observed_generation, &old.conditions)
        || providers.len() != old.providers.len()
        || !old.providers.iter().zip(providers).all(|(old, new)| same(old, new))
}

#[cfg(test)]
mod tests;
