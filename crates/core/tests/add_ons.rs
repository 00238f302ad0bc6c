//! What becomes of objects whose add-on comes and goes.

#![allow(clippy::unwrap_used)] // a test ends where a resource can't be read

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::{child, observed, then};
use trading_api::{TradingPlatform, status::TradingPlatformStatus};
use trading_core::{
    add_ons::Capabilities,
    inputs::Inputs,
    kinds::{AddOn, Kind, of_add_ons},
    object::{Key, Lifetime, Object},
    plan::Plan,
    render::render,
    resolve::resolve,
    status::status,
    step::{Observed, Steps, steps},
};

fn platform(spec: &Value) -> TradingPlatform {
    let mut all = json!({
        "version": "1.0.0",
        "backend": {"image": {"repository": "shop/backend"}},
        "secrets": {"external": [
            {
                "name": "payments",
                "storeRef": {"name": "vault"},
                "refreshInterval": "15s",
                "data": [{"secretKey": "stripe", "remoteRef": {"key": "prod/stripe", "property": "key"}}],
            },
        ]},
    });
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "apiVersion": "platform.trading/v1alpha1",
        "kind": "TradingPlatform",
        "metadata": {"name": "shop", "namespace": "prod", "uid": "u1", "generation": 1},
        "spec": all,
    }))
    .unwrap()
}

struct World {
    plan: Plan,
    objects: Vec<Object>,
    capabilities: Capabilities,
}

impl World {
    fn of(spec: &Value, add_ons: &[AddOn]) -> Self {
        let capabilities = Capabilities::of(add_ons);
        let inputs = Inputs { capabilities: capabilities.clone(), ..Inputs::offline(then()) };
        let plan = resolve(&platform(spec), &inputs);
        let objects = render(&plan);
        Self { plan, objects, capabilities }
    }

    fn steps(&self, live: &Observed) -> Steps {
        steps(&self.plan, &self.objects, live)
    }

    /// Everything that can be made is there.
    fn live(&self) -> Observed {
        let served = self.objects.iter().filter(|object| self.capabilities.serves(object.kind));
        observed(&served.cloned().collect::<Vec<_>>())
    }

    fn status(&self) -> TradingPlatformStatus {
        let live = self.live();
        status(&self.plan, &self.steps(&live), &live, None, then())
    }
}

fn condition(status: &TradingPlatformStatus, type_: &str) -> (String, String, String) {
    let found = status.conditions.iter().find(|condition| condition.type_ == type_).unwrap();
    (found.status.clone(), found.reason.clone(), found.message.clone())
}

#[test]
fn without_the_add_on_everything_else_is_made_and_the_objects_are_named() {
    let without = World::of(&json!({}), &[]);
    let with = World::of(&json!({}), &AddOn::ALL);
    let applied = |world: &World| -> BTreeSet<_> {
        world.steps(&Observed::new()).apply.iter().map(|step| step.object.key()).collect()
    };
    let lost: Vec<_> = applied(&with).difference(&applied(&without)).cloned().collect();
    assert_eq!(lost, [Key::new(Kind::ExternalSecret, "prod", "payments")]);

    let status = without.status();
    let (is, reason, message) = condition(&status, "AddOnsAvailable");
    assert_eq!((is.as_str(), reason.as_str()), ("False", "AddOnMissing"));
    assert_eq!(
        message,
        "External Secrets is not there (the cluster does not serve externalsecrets.external-secrets.io in version v1); left out until it is: ExternalSecret payments; install it, or take secrets.external out of the resource"
    );
    assert_eq!(condition(&status, "Degraded").1, "AddOnMissing");
    assert_eq!(condition(&status, "Ready").0, "True", "the rest serves");
    assert_eq!(condition(&status, "Stalled").0, "False");
}

#[test]
fn with_the_add_on_nothing_is_missing_and_without_the_wish_nothing_is_said() {
    let status = World::of(&json!({}), &[AddOn::ExternalSecrets]).status();
    assert_eq!(condition(&status, "AddOnsAvailable").0, "True");
    assert_eq!(condition(&status, "Degraded").0, "False");

    let status = World::of(&json!({"secrets": {}}), &[]).status();
    assert!(status.conditions.iter().all(|condition| condition.type_ != "AddOnsAvailable"));
}

#[test]
fn an_add_on_that_goes_takes_nothing_else_with_it_and_comes_back_with_what_was_left_out() {
    let with = World::of(&json!({}), &AddOn::ALL);
    let mut live = with.live();
    assert!(with.steps(&live).apply.is_empty());

    // The definition goes, and Kubernetes deletes its objects.
    live.retain(|key, _| key.kind.info().add_on.is_none());
    let without = World::of(&json!({}), &[]);
    let next = without.steps(&live);
    assert!(next.apply.is_empty() && next.prune.is_empty() && next.prune_first.is_empty());
    assert_eq!(next.held, [Key::new(Kind::ExternalSecret, "prod", "payments")]);

    let back: Vec<_> = with.steps(&live).apply.iter().map(|step| step.object.key()).collect();
    assert_eq!(back, [Key::new(Kind::ExternalSecret, "prod", "payments")]);
}

#[test]
fn what_a_store_logs_in_with_outlives_a_foreground_deletion() {
    let secret = |name: &str| {
        json!({
            "name": name, "storeRef": {"name": "vault"},
            "data": [{"secretKey": "password", "remoteRef": {"key": name}}],
        })
    };
    let world = World::of(
        &json!({
            "redis": {"mode": "Standalone", "auth": {"passwordSecretRef": {"name": "cache", "key": "password"}}},
            "postgres": {"mode": "External", "external": {
                "host": "db.example.com", "database": "shop", "credentialsSecretRef": {"name": "db"}}},
            "secrets": {"external": [secret("cache"), secret("db"), secret("payments")]},
        }),
        &AddOn::ALL,
    );
    let lifetimes: Vec<_> = world
        .objects
        .iter()
        .filter(|object| object.kind == Kind::ExternalSecret)
        .map(|object| {
            let owned = object.body.pointer("/metadata/ownerReferences").is_some();
            (object.name.as_str(), object.component.as_str(), object.lifetime, owned)
        })
        .collect();
    assert_eq!(
        lifetimes,
        [
            ("cache", "redis", Lifetime::Store, false),
            ("db", "postgres", Lifetime::Store, false),
            ("payments", "", Lifetime::Platform, true),
        ]
    );
}

#[test]
fn a_login_that_is_no_longer_fetched_goes_although_it_belonged_to_a_store() {
    let before = World::of(
        &json!({
            "postgres": {"mode": "External", "external": {
                "host": "db.example.com", "database": "shop", "credentialsSecretRef": {"name": "payments"}}},
        }),
        &AddOn::ALL,
    );
    let now = World::of(&json!({"secrets": {}}), &AddOn::ALL);
    let pruned: Vec<_> = now.steps(&before.live()).prune.into_iter().map(|prune| prune.key.name).collect();
    assert!(pruned.contains(&"payments".to_owned()), "{pruned:?}");
}

#[test]
fn the_name_of_a_generated_password_cannot_be_taken() {
    let world = World::of(
        &json!({
            "redis": {"mode": "Standalone"},
            "secrets": {"external": [{
                "name": "shop-redis-auth", "storeRef": {"name": "vault"},
                "data": [{"secretKey": "password", "remoteRef": {"key": "redis"}}],
            }]},
        }),
        &AddOn::ALL,
    );
    assert!(world.objects.iter().all(|object| object.kind != Kind::ExternalSecret));
    let (is, reason, message) = condition(&world.status(), "Ready");
    assert_eq!((is.as_str(), reason.as_str()), ("False", "SecretNameTaken"), "{message}");
}

#[test]
fn an_external_secret_is_as_the_project_documents_it() {
    let world = World::of(&json!({}), &AddOn::ALL);
    let object = world.objects.iter().find(|object| object.kind == Kind::ExternalSecret).unwrap();
    assert_eq!(object.body["apiVersion"], "external-secrets.io/v1");
    assert_eq!(
        object.body["spec"],
        json!({
            "refreshInterval": "15s",
            "secretStoreRef": {"name": "vault", "kind": "SecretStore"},
            "target": {"name": "payments", "creationPolicy": "Owner"},
            "data": [{"secretKey": "stripe", "remoteRef": {"key": "prod/stripe", "property": "key"}}],
        })
    );
    assert!(!child(object).is_store);
}

#[test]
fn every_kind_of_an_add_on_has_a_definition() {
    for info in of_add_ons() {
        assert!(info.definition().split('.').count() > 2, "{} is in Kubernetes' own group", info.kind);
    }
}
