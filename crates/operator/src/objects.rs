//! How the client addresses platforms and the kinds of the table.

use kube::{
    api::PatchParams,
    core::{ApiResource, DeserializeGuard},
};
use trading_api::TradingPlatform;
use trading_core::kinds::KindInfo;

/// A platform, or why it can't be read: one bad resource must not break the watch.
pub type Guarded = DeserializeGuard<TradingPlatform>;

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
