//! Volumes of the pod and their mounts.
//!
//! In: what was written, and whether the root file system is read-only. Out: volumes and mounts, with an empty
//! directory on /tmp where the root is read-only and nobody mounted something there.

use k8s_openapi::api::core::v1::{
    self as core, ConfigMapVolumeSource, EmptyDirVolumeSource, PersistentVolumeClaimVolumeSource,
    SecretVolumeSource, VolumeMount,
};
use mcp_hangar_api::v1beta1::provider::{
    ClaimVolume, ConfigMapVolume, EmptyDirVolume, KeyToPath, Medium, SecretVolume, Volume,
};

use super::pod::some;

/// Volumes and mounts, in the order of the spec.
pub(super) fn volumes(written: Vec<Volume>, is_read_only: bool) -> (Vec<core::Volume>, Vec<VolumeMount>) {
    let has_tmp = written.iter().any(|volume| volume.mount_path.trim_end_matches('/') == "/tmp");
    let (mut volumes, mut mounts): (Vec<_>, Vec<_>) = written.into_iter().map(volume).unzip();
    if is_read_only && !has_tmp {
        let name = free_name(&volumes);
        let mount = VolumeMount { name: name.clone(), mount_path: "/tmp".into(), ..Default::default() };
        mounts.push(mount);
        volumes.push(core::Volume {
            name,
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Default::default()
        });
    }
    (volumes, mounts)
}

/// `tmp`, or what is left of that: a volume of the user may have the name and another path.
fn free_name(volumes: &[core::Volume]) -> String {
    let mut name = "tmp".to_owned();
    while volumes.iter().any(|volume| volume.name == name) {
        name.insert_str(0, "mcp-");
    }
    name
}

fn volume(written: Volume) -> (core::Volume, VolumeMount) {
    let Volume {
        name,
        mount_path,
        sub_path,
        read_only,
        secret,
        config_map,
        persistent_volume_claim,
        empty_dir,
    } = written;
    let volume = core::Volume {
        name: name.clone(),
        secret: secret.map(|SecretVolume { secret_name, items }| SecretVolumeSource {
            secret_name,
            items: some(items.into_iter().map(item).collect()),
            ..Default::default()
        }),
        config_map: config_map.map(|ConfigMapVolume { name, items }| ConfigMapVolumeSource {
            name: name.unwrap_or_default(),
            items: some(items.into_iter().map(item).collect()),
            ..Default::default()
        }),
        persistent_volume_claim: persistent_volume_claim.map(|ClaimVolume { claim_name }| {
            PersistentVolumeClaimVolumeSource { claim_name: claim_name.unwrap_or_default(), read_only: None }
        }),
        empty_dir: empty_dir.map(|EmptyDirVolume { medium, size_limit }| EmptyDirVolumeSource {
            medium: medium.map(|medium| match medium {
                Medium::Disk => String::new(),
                Medium::Memory => "Memory".to_owned(),
            }),
            size_limit,
            ..Default::default()
        }),
        ..Default::default()
    };
    (volume, VolumeMount { name, mount_path, sub_path, read_only, ..Default::default() })
}

fn item(KeyToPath { key, path }: KeyToPath) -> core::KeyToPath {
    core::KeyToPath { key: key.unwrap_or_default(), path: path.unwrap_or_default(), ..Default::default() }
}
