//! Decides how far TLS to the database is, from what is asked for and how far it was.

use trading_api::postgres::{PostgresTls, PostgresTlsMode};

use super::{Context, references};
use crate::{
    plan::{Identity, POOLER, POSTGRES, POSTGRES_ANY, POSTGRES_RO, TlsPlan},
    tls::Level,
};

/// What the Secret with the certificate is called after the platform's name.
const SECRET: &str = "postgres-tls";

/// `None` where there is none, and no client is left that insists on it.
pub(super) fn resolve(context: &Context, given: Option<&PostgresTls>) -> Option<TlsPlan> {
    let inputs = context.inputs;
    let wished = given.map(|tls| match tls.mode {
        PostgresTlsMode::Offered => Level::Offered,
        PostgresTlsMode::Required => Level::Required,
    });
    let is_known = inputs.references.is_some();
    let level = match (wished, inputs.tls) {
        (Some(wished), _) if !is_known => wished,
        (None, _) if !is_known => return None,
        (None, None) => return None,
        (Some(Level::Required), Some(level)) => level,
        // Clients that come to do without it are offered it meanwhile.
        (None | Some(_), _) => Level::Offered,
    };
    let secret = context.identity.child(SECRET);
    let keys = [TlsPlan::AUTHORITY, TlsPlan::AUTHORITY_KEY, TlsPlan::CERTIFICATE, TlsPlan::KEY];
    let namespace = context.identity.namespace_of(POSTGRES);
    let is_there = |key| references::is_there(inputs, &references::secret_key(namespace, &secret, key));
    Some(TlsPlan {
        wished,
        level,
        is_whole: keys.into_iter().all(is_there),
        names: names(context.identity),
        secret,
        now: inputs.now,
    })
}

/// As clients and servers call them, wherever they are; not all are there in every platform.
fn names(identity: &Identity) -> Vec<String> {
    let (namespace, domain) = (identity.namespace_of(POSTGRES), identity.domain(POSTGRES));
    let services = [POSTGRES, POSTGRES_RO, POSTGRES_ANY, POOLER].map(|service| identity.child(service));
    let forms = services.into_iter().flat_map(|service| {
        let suffixes = ["", ".svc", ".svc.cluster.local"];
        let long = suffixes.map(|suffix| format!("{service}.{namespace}{suffix}"));
        [service].into_iter().chain(long)
    });
    forms.chain([format!("*.{domain}"), format!("*.{domain}.cluster.local")]).collect()
}
