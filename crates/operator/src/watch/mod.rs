//! Watches: feed the caches and wake the platforms that a change concerns. Each watch backs off
//! on its own, so that one forbidden kind does not stall the others.

mod children;
mod consents;
mod platforms;
mod references;

use std::sync::Arc;

use futures::{Stream, StreamExt};
use kube::{
    Api, Client, Resource,
    core::{ApiResource, DynamicResourceScope, NamespaceResourceScope},
    runtime::{
        reflector::Store,
        watcher::{self, Event},
    },
};
use trading_core::{
    inputs::ReferenceKind,
    kinds::{Kind, KindInfo, built_in, of_add_ons},
};

use crate::{add_ons, cache::Caches, objects::resource, packed::Packed};
pub use children::children;

/// Objects in one page of a list. Small pages keep the peak of memory after a start low.
const PAGE: u32 = 50;

/// Starts all watches and returns the platforms as they are.
pub fn start(client: &Client, namespaces: &[String], caches: &Arc<Caches>) -> Vec<Store<Packed>> {
    let scopes: Vec<Option<&str>> = if namespaces.is_empty() {
        vec![None]
    } else {
        namespaces.iter().map(|name| Some(name.as_str())).collect()
    };
    let mut stores = Vec::new();
    for info in of_add_ons() {
        add_ons::follow(client, info, namespaces, caches);
    }
    if namespaces.is_empty() {
        consents::watch(client, caches);
    }
    for scope in scopes {
        for info in built_in() {
            match info.kind {
                Kind::Secret => references::watch(client, ReferenceKind::Secret, info, scope, caches),
                Kind::ConfigMap => references::watch(client, ReferenceKind::ConfigMap, info, scope, caches),
                _ => {
                    let report = in_sync(&name_of(info.plural, scope), caches);
                    children(client, info, scope, caches, report);
                }
            }
        }
        stores.push(platforms::watch(client, scope, caches));
    }
    stores
}

fn typed<K>(client: &Client, scope: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// A kind without a type of its own, or the metadata of any.
fn untyped<K>(client: &Client, info: &KindInfo, scope: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
{
    let resource = resource(info);
    match scope {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

fn name_of(what: &str, scope: Option<&str>) -> String {
    scope.map_or_else(|| what.to_owned(), |namespace| format!("{what} in {namespace}"))
}

/// Who hears that a watch has its list, and what went wrong.
pub type Report = Box<dyn Fn(Result<(), &watcher::Error>) + Send>;

/// Keeps the record of what has its first list: nothing is reconciled before.
fn in_sync(name: &str, caches: &Arc<Caches>) -> Report {
    caches.sync.expect(name);
    let (name, caches) = (name.to_owned(), Arc::clone(caches));
    Box::new(move |result| match result {
        Ok(()) => caches.sync.listed(&name),
        Err(error) => {
            tracing::warn!(watch = name, %error, "a watch failed and is tried again");
            caches.sync.failed(&name, error.to_string());
        }
    })
}

/// Hands every event on.
async fn drive<K>(
    stream: impl Stream<Item = watcher::Result<Event<K>>>,
    report: Report,
    mut handle: impl FnMut(Event<K>),
) {
    let mut stream = Box::pin(stream);
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                let is_complete = matches!(event, Event::InitDone);
                handle(event);
                if is_complete {
                    report(Ok(()));
                }
            }
            Err(error) => report(Err(&error)),
        }
    }
}
