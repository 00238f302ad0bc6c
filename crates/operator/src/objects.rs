//! How the client addresses the kinds of the table.

use kube::{
    api::{ListParams, PatchParams},
    core::ApiResource,
};
use trading_api::labels::{INSTANCE, NAME};
use trading_core::kinds::KindInfo;

/// The resource of a kind in the table.
pub fn resource(info: &KindInfo) -> ApiResource {
    ApiResource {
        group: info.group.to_owned(),
        version: info.version.to_owned(),
        api_version: info.kind.api_version(),
        kind: info.kind.to_string(),
        plural: info.plural.to_owned(),
    }
}

/// Parameters of a server-side apply. The apiserver parses a document twice to warn of unknown fields, and
/// nobody would read that here: the tests have every rendered object validated strictly.
pub fn apply_as(manager: &str) -> PatchParams {
    PatchParams::apply(manager).validation_ignore()
}

/// The pods of a component, by the labels that all of them have.
pub fn pods_of(platform: &str, component: &str) -> ListParams {
    ListParams::default().labels(&format!("{INSTANCE}={platform},{NAME}={component}"))
}
