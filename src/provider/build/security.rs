//! Security settings of pod and container.
//!
//! In: what was written. Out: the pod's part and the container's part. Each absent field keeps its secure default, so
//! that a partial block loosens nothing else; together they pass the `restricted` pod security standard.

use k8s_openapi::api::core::v1::{self as core, PodSecurityContext};
use mcp_hangar_api::v1beta1::provider::{Capabilities, SeccompProfile, SeccompType, SecurityContext};

/// User and group of the pods: nobody.
const NOBODY: i64 = 65_534;

/// The pod's part and the container's part.
pub(super) fn contexts(written: SecurityContext) -> (PodSecurityContext, core::SecurityContext) {
    let SecurityContext {
        run_as_non_root,
        run_as_user,
        run_as_group,
        fs_group,
        read_only_root_filesystem,
        allow_privilege_escalation,
        capabilities,
        seccomp_profile,
    } = written;
    let pod = PodSecurityContext {
        run_as_non_root: Some(run_as_non_root.unwrap_or(true)),
        run_as_user: Some(run_as_user.unwrap_or(NOBODY)),
        run_as_group: Some(run_as_group.unwrap_or(NOBODY)),
        fs_group: Some(fs_group.unwrap_or(NOBODY)),
        seccomp_profile: Some(seccomp(seccomp_profile.unwrap_or_default())),
        ..Default::default()
    };
    let Capabilities { add, drop } = capabilities.unwrap_or_default();
    let container = core::SecurityContext {
        read_only_root_filesystem: Some(read_only_root_filesystem.unwrap_or(true)),
        allow_privilege_escalation: Some(allow_privilege_escalation.unwrap_or(false)),
        capabilities: Some(core::Capabilities {
            add,
            drop: Some(drop.unwrap_or_else(|| vec!["ALL".into()])),
        }),
        ..Default::default()
    };
    (pod, container)
}

fn seccomp(SeccompProfile { type_ }: SeccompProfile) -> core::SeccompProfile {
    let type_ = match type_.unwrap_or(SeccompType::RuntimeDefault) {
        SeccompType::RuntimeDefault => "RuntimeDefault",
        SeccompType::Unconfined => "Unconfined",
        SeccompType::Localhost => "Localhost",
    };
    core::SeccompProfile { type_: type_.to_owned(), localhost_profile: None }
}
