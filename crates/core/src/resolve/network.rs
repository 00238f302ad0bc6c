//! Decides which flows are admitted.

use std::collections::{BTreeMap, BTreeSet};

use trading_api::{network::NetworkPolicySettings, scheduling::LabelValue};

use super::{Context, Stores};
use crate::{
    plan::{ComponentPlan, ControllerPlan, IngressPlan, IngressSource, NetworkPlan, POSTGRES, REDIS, Target},
    problem::Problem,
};

const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Reason of the warning that addresses of a store outside are not known; the platform runs all the same.
pub const ADDRESSES_UNKNOWN: &str = "DatabaseAddressesUnknown";

pub(super) fn policies(
    context: &mut Context,
    ingress: Option<&IngressPlan>,
    stores: &Stores,
    components: &[ComponentPlan],
) -> Option<NetworkPlan> {
    let settings = context.spec.network_policy.clone().unwrap_or_default();
    if !context.fill("networkPolicy.enabled", settings.enabled.as_ref(), true, "operator") {
        return None;
    }
    warn_of_unknown_addresses(context, stores, components);
    Some(NetworkPlan {
        ingress: ingress.map(|ingress| sources(context, &settings, ingress)).unwrap_or_default(),
        monitoring_namespace: monitoring(context, &settings),
        keda_namespace: keda(context, &settings, components),
        cnpg_namespace: cnpg(context, &settings, stores),
        operator_namespace: context.inputs.operator.namespace.clone(),
        api_server_ports: context.inputs.operator.api_server_ports.iter().copied().map(i32::from).collect(),
    })
}

/// Where Prometheus scrapes from: the resource says it, or where it usually is.
fn monitoring(context: &mut Context, settings: &NetworkPolicySettings) -> BTreeMap<String, String> {
    let given = plain(&settings.monitoring_namespace_labels);
    let is_watched = context
        .spec
        .monitoring
        .as_ref()
        .is_some_and(|monitoring| monitoring.enabled.unwrap_or(context.preset.monitoring));
    if !given.is_empty() || !is_watched {
        return given;
    }
    let field = format!("networkPolicy.monitoringNamespaceLabels[{NAMESPACE_NAME}]");
    let name = context.fill(&field, None, "monitoring".to_owned(), "operator");
    BTreeMap::from([(NAMESPACE_NAME.to_owned(), name)])
}

/// Where KEDA looks at queues from, where there are some.
fn keda(
    context: &mut Context,
    settings: &NetworkPolicySettings,
    components: &[ComponentPlan],
) -> BTreeMap<String, String> {
    let given = plain(&settings.keda_namespace_labels);
    if !components.iter().any(|component| component.scaling.looks_at_redis()) {
        return BTreeMap::new();
    }
    if !given.is_empty() {
        return given;
    }
    let field = format!("networkPolicy.kedaNamespaceLabels[{NAMESPACE_NAME}]");
    let name = context.fill(&field, None, "keda".to_owned(), "operator");
    BTreeMap::from([(NAMESPACE_NAME.to_owned(), name)])
}

/// Where CloudNativePG's operator looks after the database from, where it does.
fn cnpg(
    context: &mut Context,
    settings: &NetworkPolicySettings,
    stores: &Stores,
) -> BTreeMap<String, String> {
    let given = plain(&settings.cnpg_namespace_labels);
    if stores.postgres.as_ref().is_none_or(|database| database.cluster.is_none()) {
        return BTreeMap::new();
    }
    if !given.is_empty() {
        return given;
    }
    let field = format!("networkPolicy.cnpgNamespaceLabels[{NAMESPACE_NAME}]");
    let name = context.fill(&field, None, "cnpg-system".to_owned(), "operator");
    BTreeMap::from([(NAMESPACE_NAME.to_owned(), name)])
}

/// Where the controller's connections come from: the resource says it, or the flavour.
fn sources(
    context: &mut Context,
    settings: &NetworkPolicySettings,
    ingress: &IngressPlan,
) -> Vec<IngressSource> {
    let blocks = settings.ingress_cidrs.iter().cloned().map(IngressSource::Block);
    let labels = plain(&settings.ingress_namespace_labels);
    if !labels.is_empty() {
        return [IngressSource::Namespace(labels)].into_iter().chain(blocks).collect();
    }
    if !settings.ingress_cidrs.is_empty() {
        return blocks.collect();
    }
    let namespaces: BTreeSet<String> = match &ingress.controller {
        // Admission asks for the blocks.
        ControllerPlan::Alb(_) => BTreeSet::new(),
        ControllerPlan::Gateway(parents) => {
            let own = &context.identity.namespace;
            parents.iter().map(|parent| parent.namespace.as_ref().unwrap_or(own).clone()).collect()
        }
        ControllerPlan::Any | ControllerPlan::Nginx | ControllerPlan::None => {
            BTreeSet::from(["ingress-nginx".to_owned()])
        }
    };
    if !namespaces.is_empty() {
        let names: Vec<&str> = namespaces.iter().map(String::as_str).collect();
        let field = format!("networkPolicy.ingressNamespaceLabels[{NAMESPACE_NAME}]");
        context.fill(&field, None, names.join(", "), "operator");
    }
    namespaces
        .into_iter()
        .map(|name| IngressSource::Namespace(BTreeMap::from([(NAMESPACE_NAME.to_owned(), name)])))
        .collect()
}

/// Policies know addresses, no names.
fn warn_of_unknown_addresses(context: &mut Context, stores: &Stores, components: &[ComponentPlan]) {
    let uses = |target: &Target| components.iter().any(|component| component.targets.contains(target));
    let database = stores.postgres.as_ref().filter(|database| {
        database.service().is_none()
            && database.cidrs.is_empty()
            && (uses(&Target::Postgres) || uses(&Target::PostgresReadOnly))
    });
    let redis = stores.external_redis.as_ref().filter(|redis| redis.cidrs.is_empty() && uses(&Target::Redis));
    let unknown = database
        .map(|database| (POSTGRES, "the database", &database.host, database.port))
        .into_iter()
        .chain(redis.map(|redis| (REDIS, "Redis", &redis.host, redis.port)));
    let problems: Vec<Problem> = unknown
        .map(|(name, title, host, port)| {
            Problem::of(
                name,
                ADDRESSES_UNKNOWN,
                format!(
                    "network policies know addresses, and of {title} only the name {host} is known: its clients may reach port {port} of any address but the clouds' metadata services; set {name}.external.cidrs"
                ),
            )
        })
        .collect();
    context.problems.extend(problems);
}

fn plain(labels: &BTreeMap<String, LabelValue>) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}
