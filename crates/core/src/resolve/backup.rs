//! Decides how a database of CloudNativePG is backed up.

use serde_json::json;
use trading_api::{Quantity, backup::Backup, component::Qos};

use super::{
    Context,
    references::{missing_for_backups, secret_key},
};
use crate::{
    digest,
    inputs::Reference,
    plan::{BACKUPS, BackupPlan, ConsumedReference, POSTGRES, ResourcesPlan},
    problem::Problem,
};

/// Reason of the warning that nobody could log in to where backups are kept.
pub(crate) const NO_CREDENTIALS: &str = "BackupCredentialsMissing";

/// What the plugin's container asks for and may use: it compresses the log, and streams a backup in parts.
const CPU: [&str; 2] = ["50m", "500m"];
const MEMORY: [&str; 2] = ["128Mi", "512Mi"];

const HTTPS: i32 = 443;
const HTTP: i32 = 80;

pub(super) fn resolve(context: &mut Context, qos: Option<Qos>) -> Option<BackupPlan> {
    let Backup { schedule, suspend, destination, retention } = context.spec.backup.clone()?;
    let s3 = destination.s3;
    let own = context.identity.namespace.clone();
    let path = context.fill("backup.destination.s3.path", s3.path.as_ref(), own, "operator");
    let destination = format!("s3://{}/{path}", s3.bucket);
    let digest = digest::of(&json!([s3.endpoint, destination]));
    let plan = BackupPlan {
        schedule: format!("0 {schedule}"),
        suspend: suspend.unwrap_or_default(),
        bucket: format!("{BACKUPS}-{}", &digest[..6]),
        destination,
        port: s3.endpoint.as_deref().map_or(HTTPS, port),
        endpoint: s3.endpoint,
        access_key_id: (s3.access_key_id_secret_ref.name, s3.access_key_id_secret_ref.key),
        secret_access_key: (s3.secret_access_key_secret_ref.name, s3.secret_access_key_secret_ref.key),
        retention_days: retention.map(|retention| retention.days),
        resources: resources(qos),
    };
    let consumed = consumed(context.identity.namespace_of(POSTGRES), &plan);
    let missing = missing_for_backups(context, &consumed);
    context.problems.extend(missing.map(|message| Problem::whole(NO_CREDENTIALS, message).as_warning()));
    Some(plan)
}

/// The Secrets, which have to be where the database is.
pub(super) fn references(namespace: &str, plan: &BackupPlan) -> Vec<Reference> {
    consumed(namespace, plan).into_iter().map(|item| item.reference).collect()
}

fn consumed(namespace: &str, plan: &BackupPlan) -> Vec<ConsumedReference> {
    let keys = [&plan.access_key_id, &plan.secret_access_key];
    keys.map(|(secret, key)| secret_key(namespace, secret, key)).into()
}

fn resources(qos: Option<Qos>) -> ResourcesPlan {
    let of = |[request, limit]: [&str; 2]| {
        Quantity::from(if qos == Some(Qos::Guaranteed) { limit } else { request })
    };
    ResourcesPlan {
        cpu_request: of(CPU),
        cpu_limit: Quantity::from(CPU[1]),
        memory_request: of(MEMORY),
        memory_limit: Quantity::from(MEMORY[1]),
    }
}

/// Of `https://host:port`.
fn port(endpoint: &str) -> i32 {
    let (scheme, host) = endpoint.split_once("://").unwrap_or(("https", endpoint));
    let given = host.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    given.unwrap_or(if scheme == "http" { HTTP } else { HTTPS })
}

#[cfg(test)]
mod tests {
    use super::port;

    #[test]
    fn the_port_is_that_of_the_address_or_the_scheme() {
        assert_eq!(port("https://minio.example.com:9000"), 9000);
        assert_eq!(port("https://s3.example.com"), 443);
        assert_eq!(port("http://s3.example.com"), 80);
    }
}
