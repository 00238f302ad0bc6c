//! `NetworkPolicies`: everything is denied but the flows that the plan declares, on both ends.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use trading_api::{
    component::Port,
    labels,
    network::{Cidr, EgressRule},
    redis::RedisMode,
};

use super::{mesh, meta, postgres_cluster};
use crate::{
    cnpg,
    kinds::Kind,
    object::{Lifetime, Object},
    plan::{
        ComponentPlan, IngressPlan, IngressSource, NetworkPlan, POOLER, POSTGRES, POSTGRES_AGENT_PORT,
        POSTGRES_PORT, Plan, PoolerPlan, PostgresPlan, REDIS, REDIS_BUS_PORT, REDIS_METRICS_PORT, REDIS_PORT,
        RUNTIME, RedisPlan, RuntimePlan, SENTINEL, SENTINEL_PORT, Target,
        monitoring::{ScrapePort, TracingPlan},
    },
};

/// Address at which node-local DNS caches answer by convention (kubernetes/dns).
const NODE_LOCAL_DNS: &str = "169.254.20.10/32";
/// Where the clouds' metadata services are, which hand out credentials: link-local addresses, and
/// those outside that AWS, Azure and Google use.
const METADATA_V4: [&str; 2] = ["169.254.0.0/16", "168.63.129.16/32"];
const METADATA_V6: [&str; 3] = ["fe80::/10", "fd00:ec2::/32", "fd20:ce::254/128"];

pub(super) fn render(plan: &Plan) -> Vec<Object> {
    let Some(network) = &plan.network else { return Vec::new() };
    let mut policies: Vec<Object> =
        plan.identity.namespaces().into_iter().map(|namespace| default_deny(plan, namespace)).collect();
    policies.extend(plan.components.iter().map(|component| of_component(plan, network, component)));
    if let Some(store) = &plan.redis {
        policies.push(of_redis(plan, network, store));
        policies.extend(store.sentinel.as_ref().map(|_| of_sentinels(plan, network)));
    }
    policies.extend(plan.postgres.as_ref().and_then(|database| of_postgres(plan, network, database)));
    policies.extend(own_pooler(plan).map(|_| of_pooler(plan)));
    policies.extend(plan.runtime.iter().map(|runtime| of_runtime(plan, runtime)));
    policies
}

fn policy(
    plan: &Plan,
    component: &str,
    tier: &str,
    lifetime: Lifetime,
    ingress: Vec<NetworkPolicyIngressRule>,
    egress: Vec<NetworkPolicyEgressRule>,
) -> Object {
    let object = NetworkPolicy {
        metadata: meta::object(plan, component, component, tier, lifetime),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(meta::matching(labels_of(plan, component))),
            policy_types: Some(both()),
            // An empty list is stored as none; writing it would be a change every time.
            ingress: (!ingress.is_empty()).then_some(ingress),
            egress: (!egress.is_empty()).then_some(egress),
        }),
    };
    Object::new(Kind::NetworkPolicy, component, lifetime, &object)
}

fn both() -> Vec<String> {
    vec!["Ingress".to_owned(), "Egress".to_owned()]
}

/// Closes whatever else of a namespace carries the platform's label.
fn default_deny(plan: &Plan, namespace: &str) -> Object {
    const NAME: &str = "default-deny";
    let object = NetworkPolicy {
        metadata: meta::object_in(plan, namespace, NAME, NAME, meta::APPLICATION, Lifetime::Platform),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(meta::matching(BTreeMap::from([(
                labels::INSTANCE.to_owned(),
                plan.identity.name.clone(),
            )]))),
            policy_types: Some(both()),
            ingress: None,
            egress: None,
        }),
    };
    Object::new(Kind::NetworkPolicy, "", Lifetime::Platform, &object)
}

fn of_component(plan: &Plan, network: &NetworkPlan, component: &ComponentPlan) -> Object {
    let ports: Vec<NetworkPolicyPort> = component.ports.iter().map(port_of).collect();
    let mut ingress = Vec::new();
    let callers: Vec<&str> = callers(plan, &Target::Component(component.name.clone()));
    ingress.extend(admit(callers.iter().map(|caller| pods(plan, &component.name, caller)).collect(), &ports));
    let routed: Vec<NetworkPolicyPort> = routed_ports(plan, component);
    ingress.extend(admit(network.ingress.iter().map(source).collect(), &routed));
    if !network.monitoring_namespace.is_empty() {
        let scraped = scraped_ports(plan, component, &ports);
        ingress.extend(admit(vec![namespace(&network.monitoring_namespace)], &scraped));
    }

    let mut egress = vec![dns()];
    for target in &component.targets {
        match target {
            Target::Redis => {
                if let Some(store) = &plan.redis {
                    egress.push(to(vec![pods(plan, &component.name, REDIS)], vec![tcp(REDIS_PORT)]));
                    egress.extend(store.sentinel.as_ref().map(|_| to_sentinels(plan, &component.name)));
                }
                let outside = plan.external_redis.iter();
                egress.extend(outside.map(|redis| to_blocks(&redis.cidrs, &[redis.port])));
            }
            Target::Runtime => egress.extend(
                plan.runtime
                    .iter()
                    .map(|it| to(vec![pods(plan, &component.name, RUNTIME)], vec![tcp(it.port)])),
            ),
            Target::PostgresReadOnly if component.targets.contains(&Target::Postgres) => {}
            Target::Postgres | Target::PostgresReadOnly => {
                egress.extend(plan.postgres.iter().map(|database| to_database(plan, component, database)));
                let pooler = own_pooler(plan).filter(|_| *target == Target::Postgres);
                egress.extend(
                    pooler.map(|_| to(vec![pods(plan, &component.name, POOLER)], vec![tcp(POSTGRES_PORT)])),
                );
            }
            Target::Component(name) => {
                let ports: Vec<NetworkPolicyPort> = plan
                    .components
                    .iter()
                    .filter(|other| &other.name == name)
                    .flat_map(|other| other.ports.iter().map(port_of))
                    .collect();
                if !ports.is_empty() {
                    egress.push(to(vec![pods(plan, &component.name, name)], ports));
                }
            }
        }
    }
    egress.extend(plan.telemetry.tracing.as_ref().and_then(to_collector));
    egress.extend(plan.mesh.as_ref().map(|_| to_control_plane()));
    egress.extend(component.spec.egress.iter().filter_map(outside));
    policy(plan, &component.name, meta::APPLICATION, Lifetime::Platform, ingress, egress)
}

/// The component's ports, and the one at which only metrics are served.
fn scraped_ports(
    plan: &Plan,
    component: &ComponentPlan,
    ports: &[NetworkPolicyPort],
) -> Vec<NetworkPolicyPort> {
    let targets = plan.monitoring.iter().flat_map(|monitoring| &monitoring.targets);
    let further =
        targets.filter(|target| target.component == component.name).filter_map(|target| match target.port {
            ScrapePort::Pod(number) => Some(tcp(number)),
            ScrapePort::Service(_) => None,
        });
    ports.iter().cloned().chain(further).collect()
}

/// Where sidecars get their configuration and certificates.
fn to_control_plane() -> NetworkPolicyEgressRule {
    let peer = NetworkPolicyPeer {
        namespace_selector: Some(named_namespace(mesh::CONTROL_PLANE)),
        ..NetworkPolicyPeer::default()
    };
    to(vec![peer], vec![tcp(mesh::CONTROL_PLANE_PORT)])
}

/// Where traces go: an address, or a namespace.
fn to_collector(tracing: &TracingPlan) -> Option<NetworkPolicyEgressRule> {
    let peer = match tracing.host.parse() {
        Ok(address @ std::net::IpAddr::V4(_)) => block(&format!("{address}/32"), &[]),
        _ if tracing.namespace.is_empty() => return None,
        _ => namespace(&tracing.namespace),
    };
    Some(to(vec![peer], vec![tcp(tracing.port)]))
}

fn of_redis(plan: &Plan, network: &NetworkPlan, store: &RedisPlan) -> Object {
    let mut between = vec![tcp(REDIS_PORT)];
    if store.mode == RedisMode::Cluster {
        between.push(tcp(REDIS_BUS_PORT));
    }
    if store.sentinel.is_some() {
        between.push(tcp(REDIS_METRICS_PORT));
    }
    let mut ingress = Vec::new();
    let callers = callers(plan, &Target::Redis);
    let callers = callers.iter().map(|caller| pods(plan, REDIS, caller)).collect();
    ingress.extend(admit(callers, &[tcp(REDIS_PORT)]));
    let mut egress = vec![dns()];
    if store.servers > 1 {
        ingress.extend(admit(vec![pods(plan, REDIS, REDIS)], &between));
        egress.push(to(vec![pods(plan, REDIS, REDIS)], between));
    }
    if store.sentinel.is_some() {
        // Who starts asks the others who is master: Sentinels, and the servers' agents.
        let asked = [tcp(REDIS_PORT), tcp(REDIS_METRICS_PORT)];
        ingress.extend(admit(vec![pods(plan, REDIS, SENTINEL)], &asked));
        egress.push(to_sentinels(plan, REDIS));
    }
    if !network.monitoring_namespace.is_empty() {
        let scraped = [tcp(REDIS_METRICS_PORT)];
        ingress.extend(admit(vec![namespace(&network.monitoring_namespace)], &scraped));
    }
    ingress.extend(admit(keda(network), &[tcp(REDIS_PORT)]));
    ingress.extend(admit(operator(network), &[tcp(REDIS_METRICS_PORT)]));
    policy(plan, REDIS, meta::CACHE, Lifetime::Store, ingress, egress)
}

/// Sentinels watch the servers and each other, and tell clients and starting servers who is master.
fn of_sentinels(plan: &Plan, network: &NetworkPlan) -> Object {
    let callers = callers(plan, &Target::Redis);
    let peers = [SENTINEL, REDIS].into_iter().chain(callers);
    let peers = peers.map(|peer| pods(plan, SENTINEL, peer)).chain(keda(network)).collect();
    // Which passwords they take matters where those change.
    let counted = plan.redis.as_ref().is_some_and(|redis| redis.passwords.wished > 1);
    let operator = admit(operator(network), &[tcp(REDIS_METRICS_PORT)]).filter(|_| counted);
    let ingress = admit(peers, &[tcp(SENTINEL_PORT)]).into_iter().chain(operator);
    let asked = vec![tcp(REDIS_PORT), tcp(REDIS_METRICS_PORT)];
    let servers = to(vec![pods(plan, SENTINEL, REDIS)], asked);
    let egress = vec![dns(), to_sentinels(plan, SENTINEL), servers];
    policy(plan, SENTINEL, meta::CACHE, Lifetime::Store, ingress.collect(), egress)
}

/// Who looks at the length of queues, where anybody does.
fn keda(network: &NetworkPlan) -> Vec<NetworkPolicyPeer> {
    let labels = &network.keda_namespace;
    if labels.is_empty() { Vec::new() } else { vec![namespace(labels)] }
}

/// The operator asks the servers' agents how they are.
fn operator(network: &NetworkPlan) -> Vec<NetworkPolicyPeer> {
    let of_name = |name: &String| NetworkPolicyPeer {
        namespace_selector: Some(named_namespace(name)),
        ..NetworkPolicyPeer::default()
    };
    network.operator_namespace.iter().map(of_name).collect()
}

fn to_sentinels(plan: &Plan, from: &str) -> NetworkPolicyEgressRule {
    to(vec![pods(plan, from, SENTINEL)], vec![tcp(SENTINEL_PORT)])
}

fn of_postgres(plan: &Plan, network: &NetworkPlan, database: &PostgresPlan) -> Option<Object> {
    let (several, agent, metrics) = match (&database.servers, &database.cluster) {
        (Some(servers), _) => (servers.instances > 1, POSTGRES_AGENT_PORT, POSTGRES_AGENT_PORT),
        (_, Some(_)) => (true, cnpg::STATUS_PORT, cnpg::METRICS_PORT),
        (None, None) => return None,
    };
    let mut callers = callers(plan, &Target::Postgres);
    callers.extend(self::callers(plan, &Target::PostgresReadOnly));
    callers.sort_unstable();
    callers.dedup();
    callers.extend(own_pooler(plan).map(|_| POOLER));
    let mut ingress = Vec::new();
    let callers = callers.iter().map(|caller| pods(plan, POSTGRES, caller)).collect();
    ingress.extend(admit(callers, &[tcp(POSTGRES_PORT)]));
    let mut egress = vec![dns(), to_blocks(&[], &network.api_server_ports)];
    let with_agent = [tcp(POSTGRES_PORT), tcp(agent)];
    if several {
        ingress.extend(admit(vec![pods(plan, POSTGRES, POSTGRES)], &with_agent));
        egress.push(to(vec![pods(plan, POSTGRES, POSTGRES)], with_agent.to_vec()));
    }
    let backup = database.cluster.as_ref().and_then(|cluster| cluster.backup.as_ref());
    egress.extend(backup.map(|backup| to_blocks(&[], &[backup.port])));
    if !network.cnpg_namespace.is_empty() {
        ingress.extend(admit(vec![namespace(&network.cnpg_namespace)], &with_agent));
    }
    if !network.monitoring_namespace.is_empty() {
        ingress.extend(admit(vec![namespace(&network.monitoring_namespace)], &[tcp(metrics)]));
    }
    if database.servers.is_some() {
        ingress.extend(admit(operator(network), &[tcp(agent)]));
    }
    Some(policy(plan, POSTGRES, meta::DATABASE, Lifetime::Store, ingress, egress))
}

/// The pooler of a database that the platform runs. Pods of CloudNativePG's poolers have the labels of its servers,
/// and their policy.
fn own_pooler(plan: &Plan) -> Option<&PoolerPlan> {
    let database = plan.postgres.as_ref()?;
    database.pooler.as_ref().filter(|_| database.servers.is_some())
}

/// From clients to the servers, and nowhere else.
fn of_pooler(plan: &Plan) -> Object {
    let callers = callers(plan, &Target::Postgres);
    let callers = callers.iter().map(|caller| pods(plan, POOLER, caller)).collect();
    let ingress = admit(callers, &[tcp(POSTGRES_PORT)]).into_iter().collect();
    let egress = vec![dns(), to(vec![pods(plan, POOLER, POSTGRES)], vec![tcp(POSTGRES_PORT)])];
    policy(plan, POOLER, meta::DATABASE, Lifetime::Platform, ingress, egress)
}

/// Who reaches the daemon is root on its node: only those who say so.
fn of_runtime(plan: &Plan, runtime: &RuntimePlan) -> Object {
    let callers = callers(plan, &Target::Runtime);
    let callers = callers.iter().map(|caller| pods(plan, RUNTIME, caller)).collect();
    let ingress = admit(callers, &[tcp(runtime.port)]).into_iter().collect();
    let egress = std::iter::once(dns()).chain(runtime.egress.iter().filter_map(outside)).collect();
    policy(plan, RUNTIME, meta::RUNTIME, Lifetime::Platform, ingress, egress)
}

/// Names of the components that talk to a target.
fn callers<'a>(plan: &'a Plan, target: &Target) -> Vec<&'a str> {
    plan.components.iter().filter(|c| c.targets.contains(target)).map(|c| c.name.as_str()).collect()
}

/// Ports that the Ingress leads to; its controller connects to the container's port.
fn routed_ports(plan: &Plan, component: &ComponentPlan) -> Vec<NetworkPolicyPort> {
    let mut numbers: Vec<i32> = plan
        .ingress
        .iter()
        .flat_map(IngressPlan::routes)
        .filter(|route| route.component == component.name)
        .map(|route| route.port)
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.into_iter().map(tcp).collect()
}

/// A rule for these peers, or none where there is no peer or no port: an empty list would admit all.
fn admit(from: Vec<NetworkPolicyPeer>, ports: &[NetworkPolicyPort]) -> Option<NetworkPolicyIngressRule> {
    (!from.is_empty() && !ports.is_empty())
        .then(|| NetworkPolicyIngressRule { from: Some(from), ports: Some(ports.to_vec()) })
}

fn to(peers: Vec<NetworkPolicyPeer>, ports: Vec<NetworkPolicyPort>) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { to: Some(peers), ports: (!ports.is_empty()).then_some(ports) }
}

fn to_database(plan: &Plan, component: &ComponentPlan, database: &PostgresPlan) -> NetworkPolicyEgressRule {
    if database.service().is_some() {
        return to(vec![pods(plan, &component.name, POSTGRES)], vec![tcp(POSTGRES_PORT)]);
    }
    to_blocks(&database.cidrs, &[database.port])
}

/// Ports of address blocks; of all but the metadata services where none are known.
fn to_blocks(cidrs: &[Cidr], ports: &[i32]) -> NetworkPolicyEgressRule {
    let peers = if cidrs.is_empty() {
        vec![block("0.0.0.0/0", &METADATA_V4), block("::/0", &METADATA_V6)]
    } else {
        cidrs.iter().map(|cidr| block(&cidr.0, &[])).collect()
    };
    to(peers, ports.iter().copied().map(tcp).collect())
}

/// Names are opened by Cilium's own policies.
fn outside(rule: &EgressRule) -> Option<NetworkPolicyEgressRule> {
    let cidr = rule.cidr.as_ref()?;
    let except: Vec<&str> = rule.except.iter().map(|cidr| cidr.0.as_str()).collect();
    let ports = rule
        .ports
        .iter()
        .map(|port| numbered(port.port, port.protocol.unwrap_or_default().as_str()))
        .collect();
    Some(to(vec![block(&cidr.0, &except)], ports))
}

fn dns() -> NetworkPolicyEgressRule {
    let cluster_dns = NetworkPolicyPeer {
        namespace_selector: Some(named_namespace("kube-system")),
        pod_selector: Some(meta::matching(BTreeMap::from([("k8s-app".to_owned(), "kube-dns".to_owned())]))),
        ip_block: None,
    };
    to(vec![cluster_dns, block(NODE_LOCAL_DNS, &[])], vec![numbered(53, "UDP"), numbered(53, "TCP")])
}

fn named_namespace(name: &str) -> LabelSelector {
    meta::matching(BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), name.to_owned())]))
}

/// What selects the pods of a component, or of a store.
fn labels_of(plan: &Plan, component: &str) -> BTreeMap<String, String> {
    let is_cluster = plan.postgres.as_ref().is_some_and(|database| database.cluster.is_some());
    if component == POSTGRES && is_cluster {
        postgres_cluster::selector(plan)
    } else {
        meta::selector(&plan.identity.name, component)
    }
}

/// Pods of a component, as seen from another: its namespace is named where it is not the same.
fn pods(plan: &Plan, seen_from: &str, component: &str) -> NetworkPolicyPeer {
    let identity = &plan.identity;
    let namespace = identity.namespace_of(component);
    NetworkPolicyPeer {
        pod_selector: Some(meta::matching(labels_of(plan, component))),
        namespace_selector: (identity.namespace_of(seen_from) != namespace)
            .then(|| named_namespace(namespace)),
        ..NetworkPolicyPeer::default()
    }
}

fn source(source: &IngressSource) -> NetworkPolicyPeer {
    match source {
        IngressSource::Namespace(labels) => namespace(labels),
        IngressSource::Block(cidr) => block(&cidr.0, &[]),
    }
}

fn namespace(labels: &BTreeMap<String, String>) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(meta::matching(labels.clone())),
        ..NetworkPolicyPeer::default()
    }
}

fn block(cidr: &str, except: &[&str]) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: cidr.to_owned(),
            except: (!except.is_empty()).then(|| except.iter().map(|&cidr| cidr.to_owned()).collect()),
        }),
        ..NetworkPolicyPeer::default()
    }
}

fn tcp(number: i32) -> NetworkPolicyPort {
    numbered(number, "TCP")
}

fn port_of(port: &Port) -> NetworkPolicyPort {
    numbered(port.container_port, port.protocol.unwrap_or_default().as_str())
}

fn numbered(number: i32, protocol: &str) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(number)),
        protocol: Some(protocol.to_owned()),
        end_port: None,
    }
}
