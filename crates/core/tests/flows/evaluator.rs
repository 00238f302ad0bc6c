//! The semantics of `networking.k8s.io/v1` NetworkPolicies, written from their documentation and
//! independent of the code that renders them: it reads nothing but JSON.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

/// One end of a connection.
#[derive(Clone, Debug)]
pub struct End {
    /// Name in the matrix.
    pub name: String,
    /// Namespace and labels of a pod; `None` for an address outside the cluster.
    pub pod: Option<Pod>,
    /// Its address.
    pub address: IpAddr,
}

/// A pod.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Name of its namespace.
    pub namespace: String,
    /// Labels of its namespace.
    pub namespace_labels: Value,
    /// Its own labels.
    pub labels: Value,
}

/// A port and its protocol.
pub type Port = (i64, &'static str);

/// Whether `from` may open a connection to `port` of `to`: neither end denies it.
pub fn allowed(policies: &[Value], from: &End, to: &End, port: Port) -> bool {
    admitted(policies, "Egress", from, to, port) && admitted(policies, "Ingress", to, from, port)
}

/// Whether the policies that select `here` admit the other end, in one direction.
fn admitted(policies: &[Value], direction: &str, here: &End, there: &End, port: Port) -> bool {
    // Policies hold for pods.
    let Some(pod) = &here.pod else { return true };
    let mut isolated = false;
    for policy in policies.iter().filter(|policy| selects(policy, pod)) {
        if !has_direction(policy, direction) {
            continue;
        }
        isolated = true;
        let (rules, peers) = if direction == "Egress" { ("egress", "to") } else { ("ingress", "from") };
        let namespace = policy["metadata"]["namespace"].as_str().unwrap_or("default");
        let admits = list(&policy["spec"][rules]).iter().any(|rule| {
            ports_match(&rule["ports"], port)
                && (list(&rule[peers]).is_empty()
                    || list(&rule[peers]).iter().any(|peer| peer_matches(peer, namespace, there)))
        });
        if admits {
            return true;
        }
    }
    !isolated
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn selects(policy: &Value, pod: &Pod) -> bool {
    policy["metadata"]["namespace"].as_str().unwrap_or("default") == pod.namespace
        && selector_matches(&policy["spec"]["podSelector"], &pod.labels)
}

/// Without `policyTypes` a policy is about ingress, and about egress where it has such rules.
fn has_direction(policy: &Value, direction: &str) -> bool {
    let types = list(&policy["spec"]["policyTypes"]);
    if types.is_empty() {
        return direction == "Ingress" || !list(&policy["spec"]["egress"]).is_empty();
    }
    types.iter().any(|type_| type_ == direction)
}

/// No ports at all mean every port.
fn ports_match(ports: &Value, (number, protocol): Port) -> bool {
    list(ports).is_empty()
        || list(ports).iter().any(|open| {
            let numbers = match (&open["port"], &open["endPort"]) {
                (Value::Null, _) => true,
                (Value::Number(first), Value::Number(last)) => {
                    first.as_i64() <= Some(number) && Some(number) <= last.as_i64()
                }
                (Value::Number(only), _) => only.as_i64() == Some(number),
                (other, _) => panic!("a port by name or in another form: {other}"),
            };
            numbers && open["protocol"].as_str().unwrap_or("TCP") == protocol
        })
}

fn peer_matches(peer: &Value, own_namespace: &str, there: &End) -> bool {
    if peer.get("ipBlock").is_some() {
        let block = &peer["ipBlock"];
        let inside = |cidr: &Value| {
            let cidr: IpNet = cidr.as_str().expect("a block").parse().expect("an address block");
            cidr.contains(&there.address)
        };
        return inside(&block["cidr"]) && !list(&block["except"]).iter().any(inside);
    }
    let Some(pod) = &there.pod else { return false };
    let namespace = match peer.get("namespaceSelector") {
        Some(selector) => selector_matches(selector, &pod.namespace_labels),
        None => pod.namespace == own_namespace,
    };
    namespace && peer.get("podSelector").is_none_or(|selector| selector_matches(selector, &pod.labels))
}

/// An empty selector matches everything.
fn selector_matches(selector: &Value, labels: &Value) -> bool {
    let equal = selector["matchLabels"].as_object().into_iter().flatten();
    equal.into_iter().all(|(key, value)| labels.get(key) == Some(value))
        && list(&selector["matchExpressions"]).iter().all(|expression| {
            let value = labels.get(expression["key"].as_str().expect("a key"));
            let is_in = value.is_some_and(|value| list(&expression["values"]).contains(value));
            match expression["operator"].as_str() {
                Some("In") => is_in,
                Some("NotIn") => !is_in,
                Some("Exists") => value.is_some(),
                Some("DoesNotExist") => value.is_none(),
                other => panic!("operator {other:?}"),
            }
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, namespace: &str, app: &str, address: &str) -> End {
        End {
            name: name.to_owned(),
            pod: Some(Pod {
                namespace: namespace.to_owned(),
                namespace_labels: json!({ "name": namespace }),
                labels: json!({ "app": app }),
            }),
            address: address.parse().unwrap(),
        }
    }

    fn outside(address: &str) -> End {
        End { name: "outside".to_owned(), pod: None, address: address.parse().unwrap() }
    }

    fn policy(namespace: &str, app: &str, spec: &Value) -> Value {
        let mut policy = json!({ "metadata": { "namespace": namespace }, "spec": spec });
        policy["spec"]["podSelector"] = json!({ "matchLabels": { "app": app } });
        policy
    }

    #[test]
    fn pods_that_no_policy_selects_are_open() {
        let [a, b] = [pod("a", "x", "a", "10.0.0.1"), pod("b", "y", "b", "10.0.0.2")];
        assert!(allowed(&[], &a, &b, (1, "TCP")));
        let elsewhere = policy("other", "b", &json!({ "policyTypes": ["Ingress"] }));
        assert!(allowed(&[elsewhere], &a, &b, (1, "TCP")));
    }

    #[test]
    fn both_ends_must_agree_and_policies_add_up() {
        let [a, b] = [pod("a", "x", "a", "10.0.0.1"), pod("b", "x", "b", "10.0.0.2")];
        let to_b = json!([{ "to": [{ "podSelector": { "matchLabels": { "app": "b" } } }], "ports": [{ "port": 80 }] }]);
        let from_a = json!([{ "from": [{ "podSelector": { "matchLabels": { "app": "a" } } }] }]);
        let egress = policy("x", "a", &json!({ "policyTypes": ["Egress"], "egress": to_b }));
        let closed = policy("x", "b", &json!({ "policyTypes": ["Ingress"] }));
        let open = policy("x", "b", &json!({ "ingress": from_a }));
        assert!(allowed(std::slice::from_ref(&egress), &a, &b, (80, "TCP")));
        assert!(!allowed(std::slice::from_ref(&egress), &a, &b, (81, "TCP")));
        assert!(!allowed(std::slice::from_ref(&egress), &a, &b, (80, "UDP")), "the default protocol is TCP");
        assert!(!allowed(&[egress.clone(), closed.clone()], &a, &b, (80, "TCP")));
        assert!(allowed(&[egress, closed, open.clone()], &a, &b, (80, "TCP")));
        assert!(!allowed(&[open], &pod("a", "y", "a", "10.0.0.3"), &b, (80, "TCP")), "another namespace");
    }

    #[test]
    fn blocks_have_holes_and_selectors_of_namespaces_meet_those_of_pods() {
        let a = pod("a", "x", "a", "10.0.0.1");
        let rule = |peer: Value| {
            policy("x", "a", &json!({ "policyTypes": ["Egress"], "egress": [{ "to": [peer] }] }))
        };
        let block = rule(json!({ "ipBlock": { "cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"] } }));
        assert!(allowed(std::slice::from_ref(&block), &a, &outside("192.0.2.1"), (1, "TCP")));
        assert!(!allowed(std::slice::from_ref(&block), &a, &outside("192.0.2.129"), (1, "TCP")));
        assert!(!allowed(&[block], &a, &outside("198.51.100.1"), (1, "TCP")));
        let both = rule(json!({
            "namespaceSelector": { "matchExpressions": [{ "key": "name", "operator": "In", "values": ["y"] }] },
            "podSelector": { "matchExpressions": [{ "key": "app", "operator": "NotIn", "values": ["c"] }] },
        }));
        assert!(allowed(std::slice::from_ref(&both), &a, &pod("b", "y", "b", "10.0.1.1"), (1, "TCP")));
        assert!(!allowed(std::slice::from_ref(&both), &a, &pod("c", "y", "c", "10.0.1.2"), (1, "TCP")));
        assert!(!allowed(&[both], &a, &pod("b", "x", "b", "10.0.0.9"), (1, "TCP")));
        let anybody = rule(json!({ "namespaceSelector": {} }));
        assert!(allowed(&[anybody], &a, &pod("b", "z", "b", "10.0.2.1"), (1, "TCP")));
    }
}
