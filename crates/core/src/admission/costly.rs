//! Rules that apiserver 1.31 would not take as CEL, because what they might cost is too much: the cluster
//! learns of them only from the operator's condition.

use serde_json::Value;
use trading_api::Quantity;

use super::Violation;

/// Every such rule that the resource breaks.
pub(super) fn check(object: &Value) -> Vec<Violation> {
    [requests_of_services(object), counts_of_quota(object)].concat()
}

/// Requests above limits of services.
fn requests_of_services(object: &Value) -> Vec<Violation> {
    let services = object.pointer("/spec/services").and_then(Value::as_array);
    let mut violations = Vec::new();
    for (index, service) in services.into_iter().flatten().enumerate() {
        for what in ["cpu", "memory"] {
            let amount = |of: &str| service.pointer(&format!("/resources/{of}/{what}")).and_then(quantity);
            if let (Some(request), Some(limit)) = (amount("requests"), amount("limits"))
                && request > limit
            {
                violations.push(Violation {
                    field: format!("spec.services[{index}].resources.requests"),
                    message: format!("requests.{what} must not be greater than limits.{what}"),
                });
            }
        }
    }
    violations
}

/// Bounds of what is counted in whole numbers.
fn counts_of_quota(object: &Value) -> Vec<Violation> {
    let bounds = object.pointer("/spec/quota/hard").and_then(Value::as_object).into_iter().flatten();
    bounds
        .filter(|(key, _)| is_whole(key))
        .filter_map(|(key, bound)| {
            let amount = quantity(bound)?;
            (amount.fract() != 0.0).then(|| Violation {
                field: format!("spec.quota.hard.{key}"),
                message: format!("{bound} is a part of one: {key} are counted in whole numbers"),
            })
        })
        .collect()
}

/// Whether a `ResourceQuota` counts it in whole numbers: objects and devices, but not cpu, memory and storage.
fn is_whole(quota_key: &str) -> bool {
    // Source: `IsIntegerResourceName` of k8s.io/kubernetes/pkg/apis/core/helper.
    let counted = ["pods", "services", "persistentvolumeclaims", "configmaps", "secrets"];
    let rarely = ["services.loadbalancers", "services.nodeports", "replicationcontrollers", "resourcequotas"];
    counted.contains(&quota_key)
        || rarely.contains(&quota_key)
        || (quota_key.contains('/') && !quota_key.starts_with("requests."))
}

fn quantity(value: &Value) -> Option<f64> {
    serde_json::from_value::<Quantity>(value.clone()).ok()?.value()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(spec: &Value) -> Vec<String> {
        check(&json!({ "spec": spec })).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_service_requests_no_more_than_its_limits() {
        let service = |request: &str| {
            let resources = json!({ "requests": { "cpu": request }, "limits": { "cpu": "0.5" } });
            json!({ "services": [{ "name": "a" }, { "name": "b", "resources": resources }] })
        };
        assert!(said(&service("500m")).is_empty());
        let refused = said(&service("501m"));
        let expected =
            "spec.services[1].resources.requests: requests.cpu must not be greater than limits.cpu";
        assert_eq!(refused, [expected]);
    }

    #[test]
    fn what_is_counted_is_counted_in_whole_numbers() {
        let hard = |key: &str, amount: Value| json!({ "quota": { "hard": { key: amount } } });
        for key in ["pods", "services.loadbalancers", "count/deployments.apps"] {
            assert!(said(&hard(key, json!(60))).is_empty(), "{key}");
            assert!(said(&hard(key, json!("2k"))).is_empty(), "{key}");
            let refused = said(&hard(key, json!("1500m")));
            assert!(refused[0].contains(&format!("spec.quota.hard.{key}: \"1500m\"")), "{refused:?}");
        }
        for key in ["requests.cpu", "limits.memory", "requests.example.com/gpu"] {
            assert!(said(&hard(key, json!("1500m"))).is_empty(), "{key}");
        }
    }
}
