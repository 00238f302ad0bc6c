//! Namespaces that let a platform's tiers in.

use std::{collections::HashSet, sync::Arc};

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use trading_api::labels;

use super::{PAGE, drive, in_sync};
use crate::cache::{Caches, PlatformKey};

/// Namespaces that say which platform may put tiers into them. An operator of a few namespaces has
/// no right to look, and serves no tiers.
pub fn watch(client: &Client, caches: &Arc<Caches>) {
    const NAME: &str = "namespaces";
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    let stream = watcher(api, watcher::Config::default().page_size(PAGE).labels(labels::ALLOWS));
    let report = in_sync(NAME, caches);
    let caches = Arc::clone(caches);
    tokio::spawn(async move {
        let mut listed = HashSet::new();
        let wake =
            |platforms: Vec<PlatformKey>| platforms.into_iter().for_each(|p| caches.triggers.wake(p, NAME));
        let seen = |namespace: &PartialObjectMeta<Namespace>| {
            let label = namespace.labels().get(labels::ALLOWS).map(String::as_str);
            caches.consents.seen(&namespace.name_any(), label)
        };
        drive(stream.default_backoff(), report, |event| match event {
            Event::Init => listed.clear(),
            Event::InitApply(namespace) => {
                wake(seen(&namespace));
                listed.insert(namespace.name_any());
            }
            Event::InitDone => {
                wake(caches.consents.retain(&listed));
                listed = HashSet::new();
            }
            Event::Apply(namespace) => wake(seen(&namespace)),
            Event::Delete(namespace) => wake(caches.consents.seen(&namespace.name_any(), None)),
        })
        .await;
    });
}
