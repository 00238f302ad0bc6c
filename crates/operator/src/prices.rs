//! The price table that estimates are made with: a `ConfigMap` in the operator's namespace, or the
//! built-in list where there is none.

use std::{collections::BTreeMap, sync::Arc};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    runtime::{
        WatchStreamExt,
        reflector::Store,
        watcher::{self, Event, watcher},
    },
};
use trading_core::cost::PriceTable;

use crate::{
    cache::{Caches, Latest},
    packed::Packed,
    settings::Settings,
};

/// The prices, or what is wrong with them.
pub type Table = Result<PriceTable, String>;

/// The prices as they are now; none until it is known whether there is a table.
pub type Prices = Latest<Table>;

fn read(place: &str, data: Option<&BTreeMap<String, String>>) -> Table {
    let Some(data) = data else { return Ok(PriceTable::default()) };
    PriceTable::read(data).map_err(|errors| {
        let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
        format!("{place}: {}", all.join("; "))
    })
}

/// Follows the table, and wakes every platform when it changes. Nothing waits for it: where it can't be
/// read, estimates stay as they are.
pub fn watch(client: Client, settings: &Settings, platforms: Vec<Store<Packed>>, caches: &Arc<Caches>) {
    let (namespace, name) = (&settings.lease_namespace, &settings.prices);
    let place = format!("ConfigMap {namespace}/{name}");
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let caches = Arc::clone(caches);
    tokio::spawn(async move {
        let mut events = Box::pin(watcher(api, config).default_backoff());
        let mut listed = None;
        while let Some(event) = events.next().await {
            let table = match event {
                Ok(Event::Init) => {
                    listed = None;
                    continue;
                }
                Ok(Event::InitApply(map)) => {
                    listed = Some(map.data.unwrap_or_default());
                    continue;
                }
                Ok(Event::InitDone) => read(&place, listed.as_ref()),
                Ok(Event::Apply(map)) => read(&place, Some(&map.data.unwrap_or_default())),
                Ok(Event::Delete(_)) => read(&place, None),
                Err(error) => {
                    tracing::warn!(watch = place, %error, "a watch failed and is tried again");
                    continue;
                }
            };
            let error = table.as_ref().err().cloned();
            if caches.prices.set(table) {
                if let Some(error) = error {
                    tracing::warn!(
                        error,
                        "the price table can't be read; there are no estimates until it is mended"
                    );
                }
                caches.wake_all(&platforms, "the prices changed");
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_prices_are_a_change() {
        let prices = Prices::default();
        assert!(prices.get().is_none());
        assert!(prices.set(read("a", None)));
        assert!(!prices.set(read("a", None)));
        let aws = BTreeMap::from([("provider".to_owned(), "AWS".to_owned())]);
        assert!(!prices.set(read("a", Some(&aws))), "the same prices, said aloud");
        let gcp = BTreeMap::from([("provider".to_owned(), "GCP".to_owned())]);
        assert!(prices.set(read("a", Some(&gcp))));
    }

    #[test]
    fn a_wrong_table_says_where_it_is_and_what_to_do() {
        let data = BTreeMap::from([
            ("provider".to_owned(), "AWS".to_owned()),
            ("source".to_owned(), "us".to_owned()),
            ("date".to_owned(), "2026".to_owned()),
            ("storage".to_owned(), "-1".to_owned()),
        ]);
        assert_eq!(
            read("ConfigMap a/b", Some(&data)).err().as_deref(),
            Some(
                "ConfigMap a/b: storage: \"-1\" is negative: give the price of a GiB of volume for a month, such as 0.08"
            )
        );
    }
}
