//! Decides where a store's certificate is, and for which names.

use super::{Context, references};
use crate::plan::{Identity, StoreCertificate};

/// The certificate of a store, of which these are the Services, and these the sets of servers.
pub(super) fn resolve(context: &Context, store: &str, services: &[&str], sets: &[&str]) -> StoreCertificate {
    let secret = context.identity.child(&format!("{store}-tls"));
    let namespace = context.identity.namespace_of(store);
    let is_there =
        |key| references::is_there(context.inputs, &references::secret_key(namespace, &secret, key));
    StoreCertificate {
        is_whole: StoreCertificate::KEYS.into_iter().all(is_there),
        names: names(context.identity, namespace, services, sets),
        secret,
        now: context.inputs.now,
    }
}

/// As clients and servers call them, wherever they are; not all are there in every platform.
fn names(identity: &Identity, namespace: &str, services: &[&str], sets: &[&str]) -> Vec<String> {
    let of_services = services.iter().flat_map(|service| {
        let service = identity.child(service);
        let suffixes = ["", ".svc", ".svc.cluster.local"];
        let long = suffixes.map(|suffix| format!("{service}.{namespace}{suffix}"));
        [service].into_iter().chain(long)
    });
    let of_servers = sets.iter().flat_map(|set| {
        let domain = identity.domain(set);
        [format!("*.{domain}"), format!("*.{domain}.cluster.local")]
    });
    of_services.chain(of_servers).collect()
}
