//! Decides how far TLS to the database is, from what is asked for and how far it was.

use trading_api::postgres::{PostgresTls, PostgresTlsMode};

use super::{Context, certificate};
use crate::{
    plan::{POOLER, POSTGRES, POSTGRES_ANY, POSTGRES_RO, TlsPlan},
    tls::Level,
};

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
    let services = [POSTGRES, POSTGRES_RO, POSTGRES_ANY, POOLER];
    let certificate = certificate::resolve(context, POSTGRES, &services, &[POSTGRES]);
    Some(TlsPlan { wished, level, certificate })
}
