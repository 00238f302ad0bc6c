//! The ends between which flows are tried: the platform's pods, the cluster's, and addresses.

use std::{collections::BTreeSet, net::IpAddr};

use serde_json::{Value, json};
use trading_api::labels;
use trading_core::{kinds::Kind, object::Object};

use crate::evaluator::{End, Pod, Port, allowed};

/// A flow that must be admitted: from, to, port, protocol.
pub type Flow = (&'static str, &'static str, i64, &'static str);

/// A platform's policies, and everything that its pods could talk to.
pub struct World {
    policies: Vec<Value>,
    /// Names of the platform's pods.
    own: BTreeSet<String>,
    ends: Vec<End>,
    ports: BTreeSet<Port>,
}

/// In a matrix: every end at which the Kubernetes API might be, since policies can't name it. Not the
/// platform's own pods, and not the node's own addresses, where metadata services are.
pub const API: &str = "wherever the Kubernetes API may be";

/// Name, namespace, labels.
type Neighbour = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Pods of the cluster that belong to no platform.
const NEIGHBOURS: [Neighbour; 9] = [
    ("ingress controller", "ingress-nginx", &[("app.kubernetes.io/name", "ingress-nginx")]),
    ("edge proxy", "edge", &[("gateway.networking.k8s.io/gateway-name", "edge")]),
    ("prometheus", "monitoring", &[("app.kubernetes.io/name", "prometheus")]),
    ("cnpg operator", "cnpg-system", &[("app.kubernetes.io/name", "cloudnative-pg")]),
    ("operator", "trading-system", &[("app.kubernetes.io/name", "trading-platform-operator")]),
    ("cluster dns", "kube-system", &[("k8s-app", "kube-dns")]),
    ("system pod", "kube-system", &[("k8s-app", "metrics-server")]),
    ("stranger", "default", &[("app.kubernetes.io/name", "backend")]),
    ("neighbour", "", &[("app.kubernetes.io/name", "backend"), ("app.kubernetes.io/instance", "other")]),
];

impl World {
    /// The rendered objects of a platform, with named addresses outside.
    pub fn of(objects: &[Object], outside: &[(&str, &str)]) -> Self {
        let is_home = |object: &&Object| object.body["metadata"]["labels"].get(labels::HOME).is_none();
        let namespace = objects.iter().find(is_home).unwrap().namespace.clone();
        let of_kind = |kind: Kind| objects.iter().filter(move |object| object.kind == kind);
        let policies: Vec<Value> =
            of_kind(Kind::NetworkPolicy).map(|policy| policy.clone().into_body()).collect();
        let (mut ends, mut twins) = (Vec::new(), Vec::new());
        let mut ports: BTreeSet<Port> = [
            (53, "UDP"),
            (53, "TCP"),
            (80, "TCP"),
            (443, "TCP"),
            (6443, "TCP"),
            (5432, "TCP"),
            (6379, "TCP"),
            (16379, "TCP"),
        ]
        .into();
        let workloads = of_kind(Kind::Deployment).chain(of_kind(Kind::StatefulSet));
        let workloads = workloads.chain(of_kind(Kind::DaemonSet)).chain(of_kind(Kind::Cluster));
        for (number, workload) in workloads.enumerate() {
            let template = &workload.body["spec"]["template"];
            let labels = match workload.kind {
                // As CloudNativePG labels its pods.
                Kind::Cluster => json!({ "cnpg.io/cluster": workload.name }),
                _ => template["metadata"]["labels"].clone(),
            };
            let (name, number) = (&workload.component, number + 1);
            ends.push(pod(name, &workload.namespace, labels.clone(), &format!("10.244.1.{number}")));
            // What carries the same labels in another namespace is a stranger.
            twins.push(pod(&format!("{name} elsewhere"), "elsewhere", labels, &format!("10.244.3.{number}")));
            for container in template["spec"]["containers"].as_array().into_iter().flatten() {
                ports.extend(container["ports"].as_array().into_iter().flatten().map(|port| {
                    let protocol = if port["protocol"] == "UDP" { "UDP" } else { "TCP" };
                    (port["containerPort"].as_i64().unwrap(), protocol)
                }));
            }
        }
        let own = ends.iter().map(|end: &End| end.name.clone()).collect();
        for (number, (name, of, labels)) in NEIGHBOURS.into_iter().enumerate() {
            let of = if of.is_empty() { &namespace } else { of };
            let labels: Value = labels.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
            ends.push(pod(name, of, labels, &format!("10.244.2.{}", number + 1)));
        }
        ends.append(&mut twins);
        // Others may live where tiers do.
        let homes: BTreeSet<&String> = objects.iter().map(|object| &object.namespace).collect();
        for (number, home) in homes.into_iter().enumerate() {
            let labels = json!({ "app.kubernetes.io/name": "batch" });
            ends.push(pod(&format!("other in {home}"), home, labels, &format!("10.244.4.{}", number + 1)));
        }
        ends.extend(outside.iter().map(|(name, address)| End {
            name: (*name).to_owned(),
            pod: None,
            address: address.parse().unwrap(),
        }));
        ports.extend(policies.iter().flat_map(named));
        // A port that nobody serves.
        ports.insert((4242, "TCP"));
        ports.insert((4242, "UDP"));
        Self { policies, own, ends, ports }
    }

    /// Tries every pair of ends at every port, and tells what differs from the matrix.
    pub fn differences(&self, matrix: &[Flow]) -> Vec<String> {
        let mut differences = Vec::new();
        let known = |name: &str| self.ends.iter().any(|end| end.name == name);
        for (from, to, port, protocol) in matrix {
            if !known(from) || !(known(to) || *to == API) || !self.ports.contains(&(*port, protocol)) {
                differences.push(format!("{from} -> {to} {port}/{protocol} is about nothing that is there"));
            }
        }
        for from in &self.ends {
            for to in &self.ends {
                for port in &self.ports {
                    differences.extend(self.difference(matrix, from, to, *port));
                }
            }
        }
        differences
    }

    fn difference(&self, matrix: &[Flow], from: &End, to: &End, port: Port) -> Option<String> {
        if !self.is_ours(from) && !self.is_ours(to) {
            return None;
        }
        let wanted = matrix.iter().any(|(source, target, number, protocol)| {
            let is_target = *target == to.name || *target == API && self.may_be_the_api(to);
            *source == from.name && is_target && (*number, *protocol) == port
        });
        let found = allowed(&self.policies, from, to, port);
        let verdict = if found { "is admitted, and is not in the matrix" } else { "is denied" };
        (wanted != found).then(|| format!("{} -> {} {}/{} {verdict}", from.name, to.name, port.0, port.1))
    }

    /// Names of the platform's pods.
    pub fn own(&self) -> BTreeSet<&str> {
        self.own.iter().map(String::as_str).collect()
    }

    fn may_be_the_api(&self, end: &End) -> bool {
        let is_link_local = |address: &IpAddr| match address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.segments()[0] == 0xfd00,
        };
        !self.is_ours(end) && !is_link_local(&end.address)
    }

    /// Pods of the platform; what others do among themselves is not its business.
    fn is_ours(&self, end: &End) -> bool {
        self.own.contains(&end.name)
    }
}

/// Ports that a policy names.
fn named(policy: &Value) -> Vec<Port> {
    let rules = ["ingress", "egress"].into_iter().filter_map(|way| policy["spec"][way].as_array()).flatten();
    rules
        .flat_map(|rule| rule["ports"].as_array().into_iter().flatten())
        .filter_map(|port| {
            let protocol = if port["protocol"] == "UDP" { "UDP" } else { "TCP" };
            Some((port["port"].as_i64()?, protocol))
        })
        .collect()
}

fn pod(name: &str, namespace: &str, labels: Value, address: &str) -> End {
    let address: IpAddr = address.parse().unwrap();
    let namespace_labels = json!({ "kubernetes.io/metadata.name": namespace });
    let pod = Pod { namespace: namespace.to_owned(), namespace_labels, labels };
    End { name: name.to_owned(), pod: Some(pod), address }
}
