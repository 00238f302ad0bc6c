//! What all pods have in common: they are admitted at Pod Security `restricted`.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, EmptyDirVolumeSource, LocalObjectReference, PodSecurityContext, PodSpec,
        ResourceRequirements, SeccompProfile, SecurityContext, Volume, VolumeMount,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use crate::plan::{Plan, ResourcesPlan};

/// Mode of a mounted Secret: the kubelet gives it to the group of the pod, for its user to read and no other's.
pub(super) const GROUP_READS: i32 = 0o440;

/// A pod without containers, closed down as far as it goes.
pub(super) fn restricted(plan: &Plan, service_account: &str, user: i64, group: i64) -> PodSpec {
    PodSpec {
        service_account_name: Some(service_account.to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: (!plan.pods.pull_secrets.is_empty()).then(|| {
            plan.pods.pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect()
        }),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(user),
            run_as_group: Some(group),
            fs_group: Some(group),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            }),
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    }
}

/// A container without privileges and with a read-only root file system.
pub(super) fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..SecurityContext::default()
    }
}

/// Requests and limits.
pub(super) fn resources(plan: &ResourcesPlan) -> ResourceRequirements {
    let amounts = |cpu: &trading_api::Quantity, memory: &trading_api::Quantity| {
        BTreeMap::from([
            ("cpu".to_owned(), Quantity::from(cpu)),
            ("memory".to_owned(), Quantity::from(memory)),
        ])
    };
    ResourceRequirements {
        requests: Some(amounts(&plan.cpu_request, &plan.memory_request)),
        limits: Some(amounts(&plan.cpu_limit, &plan.memory_limit)),
        claims: None,
    }
}

/// A volume that ends with its pod.
pub(super) fn empty_dir(name: &str, medium: Option<&str>) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: medium.map(str::to_owned),
            // Memory counts against the container's limit; what goes there is small.
            size_limit: medium.map(|_| Quantity("1Mi".to_owned())),
        }),
        ..Volume::default()
    }
}

/// POSIX shared memory; what is in it counts against the memory limit of the container.
pub(super) fn shared_memory(name: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource { medium: Some("Memory".to_owned()), size_limit: None }),
        ..Volume::default()
    }
}

/// Where a volume appears.
pub(super) fn mount(volume: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}
