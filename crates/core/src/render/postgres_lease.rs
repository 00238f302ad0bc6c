//! The Lease by which the servers of a database agree who is primary, and the right to it.

use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{
        ConfigMapProjection, DownwardAPIProjection, DownwardAPIVolumeFile, KeyToPath, ObjectFieldSelector,
        ProjectedVolumeSource, ServiceAccountTokenProjection, Volume, VolumeProjection,
    },
    rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject},
};

use super::store::Store;
use crate::{
    kinds::Kind,
    object::Object,
    plan::{POSTGRES, Plan},
};

const RBAC: &str = "rbac.authorization.k8s.io";
/// Kubernetes' own, in every namespace.
const CLUSTER_CA: &str = "kube-root-ca.crt";
/// Seconds after which a token is worth nothing; the kubelet renews it long before.
const TOKEN_SECONDS: i64 = 3600;

/// The Lease is made empty: what it says is the agents'. So they need no right to make one.
pub(super) fn render(store: &Store) -> [Object; 3] {
    let name = store.plan.identity.child(POSTGRES);
    let role = Role {
        metadata: store.metadata(POSTGRES),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec!["coordination.k8s.io".to_owned()]),
            resources: Some(vec!["leases".to_owned()]),
            resource_names: Some(vec![name.clone()]),
            verbs: vec!["get".to_owned(), "patch".to_owned()],
            ..PolicyRule::default()
        }]),
    };
    let binding = RoleBinding {
        metadata: store.metadata(POSTGRES),
        role_ref: RoleRef { api_group: RBAC.to_owned(), kind: "Role".to_owned(), name: name.clone() },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name,
            namespace: Some(store.plan.identity.namespace_of(POSTGRES).to_owned()),
            ..Subject::default()
        }]),
    };
    let lease = Lease { metadata: store.metadata(POSTGRES), spec: None };
    [
        store.object(Kind::Role, &role),
        store.object(Kind::RoleBinding, &binding),
        store.object(Kind::Lease, &lease),
    ]
}

/// Which it is, for the agents.
pub(super) fn name(plan: &Plan) -> String {
    plan.identity.child(POSTGRES)
}

/// What a client of the Kubernetes API looks for in its pod, for the containers that mount it: all
/// else of the pod goes without.
pub(super) fn token(volume: &str) -> Volume {
    let path = |key: &str, path: &str| KeyToPath { key: key.to_owned(), path: path.to_owned(), mode: None };
    let sources = [
        VolumeProjection {
            service_account_token: Some(ServiceAccountTokenProjection {
                expiration_seconds: Some(TOKEN_SECONDS),
                path: "token".to_owned(),
                audience: None,
            }),
            ..VolumeProjection::default()
        },
        VolumeProjection {
            config_map: Some(ConfigMapProjection {
                name: CLUSTER_CA.to_owned(),
                items: Some(vec![path("ca.crt", "ca.crt")]),
                optional: None,
            }),
            ..VolumeProjection::default()
        },
        VolumeProjection {
            downward_api: Some(DownwardAPIProjection {
                items: Some(vec![DownwardAPIVolumeFile {
                    path: "namespace".to_owned(),
                    field_ref: Some(ObjectFieldSelector {
                        field_path: "metadata.namespace".to_owned(),
                        api_version: None,
                    }),
                    ..DownwardAPIVolumeFile::default()
                }]),
            }),
            ..VolumeProjection::default()
        },
    ];
    Volume {
        name: volume.to_owned(),
        projected: Some(ProjectedVolumeSource { sources: Some(sources.into()), default_mode: None }),
        ..Volume::default()
    }
}
