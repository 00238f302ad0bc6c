//! What holds for every platform that admission lets through: 100,000 of them through resolve,
//! render, step and status.
//!
//! The cases are the same in every run; `PROPTEST_RNG_SEED=<number>` gives others. What fails is
//! made as simple as it goes and shown as the resource that a person would write.

#![allow(clippy::unwrap_used)] // generated values have the shape that they were made with

mod generate;
mod pods;
mod restricted;
#[path = "../support/mod.rs"]
mod support;
mod tape;
mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use serde_json::{Value, json};
use support::{child, observed, then};
use tape::{Tape, tape};
use trading_api::{
    TradingPlatform,
    deletion::{DataPolicy, Store},
    labels,
    schema::open_api_schema,
};
use trading_core::{
    admission,
    growth::CANNOT_SHRINK,
    inputs::{Inputs, ReferenceKind, ReferenceState},
    kinds::Kind,
    object::{Content, Lifetime, Object},
    plan::{RUNTIME, store_of},
    render::render,
    resolve::{references, resolve},
    status::{status, workload::Hibernation},
    step::{Observed, Steps, steps},
};
use world::{World, component, items, selects, template};

/// What a property says of a value: nothing where it holds.
type Verdict = Result<(), String>;

/// A generated value, shown as YAML.
struct Shown<T>(T);

impl<T: serde::Serialize> fmt::Debug for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{}", serde_yaml::to_string(&self.0).map_err(|_| fmt::Error)?)
    }
}

/// All cases, 100,000 and more, take a minute optimised (`cargo test --release`) and many in a debug
/// build, which checks every fortieth.
fn share() -> u32 {
    if cfg!(debug_assertions) { 40 } else { 1 }
}

/// Checks a property of so many values.
fn check<T: serde::Serialize>(
    cases: u32,
    make: impl Fn(&mut Tape) -> T + Clone,
    property: impl Fn(&T) -> Verdict,
) {
    let seed = match Config::default().rng_seed {
        RngSeed::Random => RngSeed::Fixed(0),
        fixed @ RngSeed::Fixed(_) => fixed,
    };
    let config = Config {
        cases: (cases / share()).max(50),
        failure_persistence: None,
        rng_seed: seed,
        max_shrink_time: 60_000,
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&tape(move |tape| Shown(make(tape))), |Shown(value)| {
        property(&value).map_err(TestCaseError::fail)
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

fn holds(condition: bool, message: impl FnOnce() -> String) -> Verdict {
    if condition { Ok(()) } else { Err(message()) }
}

fn each<T>(items: impl IntoIterator<Item = T>, verdict: impl FnMut(T) -> Verdict) -> Verdict {
    items.into_iter().try_for_each(verdict)
}

fn said(object: &Object, what: &str) -> String {
    format!("{} {:?}: {what}", object.kind, object.name)
}

#[test]
fn generated_platforms_are_admissible() {
    check(1500, generate::platform, |platform| {
        let resource = serde_json::to_value(platform).unwrap();
        let violations = admission::check(&resource, None);
        holds(violations.is_empty(), || format!("{violations:?}"))
    });
}

/// Otherwise a new field of the kind would be in no test here.
#[test]
fn every_field_is_generated() {
    let mut wanted = BTreeSet::new();
    fields(&open_api_schema()["properties"]["spec"], "", &mut wanted);
    let mut tape = Tape::of_seed(0);
    let mut found = BTreeSet::new();
    for _ in 0..4000 {
        let platform = serde_json::to_value(generate::platform(&mut tape)).unwrap();
        values(&platform["spec"], "", &mut found);
    }
    let missed: Vec<&String> = wanted.difference(&found).collect();
    assert!(missed.is_empty(), "never generated: {missed:#?}");
}

/// Roles and services share their fields.
fn collapsed(path: &str) -> String {
    ["frontend", "backend", "scraper", "worker", "services[]"]
        .iter()
        .fold(path.to_owned(), |path, role| path.replacen(&format!("/{role}/"), "/component/", 1))
}

fn fields(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        found.insert(collapsed(&format!("{path}/{name}")));
        fields(inner, &format!("{path}/{name}"), found);
    }
    if schema.get("items").is_some() {
        fields(&schema["items"], &format!("{path}[]"), found);
    }
}

fn values(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                found.insert(collapsed(&format!("{path}/{name}")));
                values(inner, &format!("{path}/{name}"), found);
            }
        }
        Value::Array(items) => items.iter().for_each(|inner| values(inner, &format!("{path}[]"), found)),
        _ => {}
    }
}

#[test]
fn names_and_labels_are_valid_and_no_object_is_there_twice() {
    check(12_000, generate::platform, |platform| {
        let world = World::of(platform);
        let keys: BTreeSet<_> = world.objects.iter().map(Object::key).collect();
        holds(keys.len() == world.objects.len(), || "two objects have one kind and name".to_owned())?;
        each(&world.objects, |object| {
            let longest = match object.kind {
                Kind::Cluster => 50,
                Kind::StatefulSet => 52,
                // Of all kinds these alone are in no label and no DNS name.
                Kind::Secret => 253,
                _ => 63,
            };
            // The Secret's name is the user's.
            let is_given = object.kind == Kind::ExternalSecret;
            holds(is_given || is_dns_label(&object.name, longest), || said(object, "not a valid name"))?;
            let metadata = [&object.body["metadata"], &template(object)["metadata"]];
            each(
                metadata.into_iter().filter_map(|meta| meta["labels"].as_object()).flatten(),
                |(key, value)| {
                    let value = value.as_str().unwrap_or("/");
                    holds(is_label_value(value), || said(object, &format!("label {key}: {value:?}")))
                },
            )
        })
    });
}

/// A name that starts with a letter, as a Service's must.
fn is_dns_label(name: &str, longest: usize) -> bool {
    name.len() <= longest
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
}

fn is_label_value(value: &str) -> bool {
    let is_end = |c: char| c.is_ascii_alphanumeric();
    value.is_empty()
        || (value.len() <= 63
            && value.starts_with(is_end)
            && value.ends_with(is_end)
            && value.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c)))
}

#[test]
fn selectors_select_the_pods_of_their_component_and_no_others() {
    check(10_000, generate::platform, |platform| {
        let world = World::of(platform);
        each(&world.objects, |object| {
            let spec = &object.body["spec"];
            let selector = match object.kind {
                Kind::Service => &spec["selector"],
                Kind::Deployment | Kind::StatefulSet | Kind::PodDisruptionBudget => {
                    &spec["selector"]["matchLabels"]
                }
                Kind::NetworkPolicy => &spec["podSelector"]["matchLabels"],
                _ => return Ok(()),
            };
            if selector.is_null() && component(object) == "postgres" {
                return Ok(()); // it stands for something outside
            }
            let versions = [labels::VERSION, labels::CONFIG_CHECKSUM, labels::PLATFORM_UID];
            holds(versions.iter().all(|label| selector.get(label).is_none()), || {
                said(object, &format!("its selector changes with a release: {selector}"))
            })?;
            each(world.workloads(), |workload| {
                let pod = &template(workload)["metadata"]["labels"];
                let is_meant =
                    component(object) == component(workload) || component(object) == "default-deny";
                let selector = apart_from_the_role(selector);
                holds(selects(&selector, pod) == is_meant, || {
                    said(object, &format!("{selector} and the pods of {:?}: {pod}", workload.name))
                })
            })
        })?;
        peers_and_spreads(&world)?;
        addresses(&world)
    });
}

/// The selector without what picks the primary alone: a label that only a live pod gets.
fn apart_from_the_role(selector: &Value) -> Value {
    let mut selector = selector.clone();
    if selector.get(labels::STORE_ROLE).is_some_and(|role| role == labels::ROLE_PRIMARY) {
        selector.as_object_mut().unwrap().remove(labels::STORE_ROLE);
    }
    selector
}

/// Selectors within pods and policies.
fn peers_and_spreads(world: &World) -> Verdict {
    each(world.workloads(), |workload| {
        let (pod, spec) = (&template(workload)["metadata"]["labels"], &template(workload)["spec"]);
        let mut found = Vec::new();
        label_selectors(spec, &mut found);
        each(found, |selector| {
            holds(selects(selector, pod), || {
                said(workload, &format!("{selector} does not select its own pods"))
            })
        })
    })?;
    each(world.all(Kind::NetworkPolicy), |policy| {
        let spec = &policy.body["spec"];
        let rules = items(&spec["ingress"]).chain(items(&spec["egress"]));
        let peers = rules.flat_map(|rule| items(&rule["from"]).chain(items(&rule["to"])));
        each(peers, |peer| {
            let selector = &peer["podSelector"]["matchLabels"];
            let is_ours = peer.get("namespaceSelector").is_none() && peer.get("podSelector").is_some();
            let mut pods = world.all_workloads().filter(|workload| workload.namespace == policy.namespace);
            let hits = pods.any(|w| selects(selector, &template(w)["metadata"]["labels"]));
            let mut clusters = world.all(Kind::Cluster).filter(|it| it.namespace == policy.namespace);
            let hits = hits || clusters.any(|it| selects(selector, &json!({ "cnpg.io/cluster": it.name })));
            holds(!is_ours || hits, || said(policy, &format!("{peer} selects nothing")))?;
            let empty = peer.as_object().is_none_or(serde_json::Map::is_empty);
            holds(!empty, || said(policy, "an empty peer is everybody"))
        })?;
        // A rule without peers or without sources admits the whole world.
        each(items(&spec["ingress"]), |rule| {
            holds(items(&rule["from"]).next().is_some(), || {
                said(policy, &format!("admits everybody: {rule}"))
            })
        })?;
        each(items(&spec["egress"]), |rule| {
            holds(items(&rule["to"]).next().is_some(), || {
                said(policy, &format!("may reach everything: {rule}"))
            })
        })
    })
}

fn label_selectors<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("labelSelector").map(|selector| &selector["matchLabels"]));
            map.values().for_each(|inner| label_selectors(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| label_selectors(inner, found)),
        _ => {}
    }
}

/// Services, ingresses and autoscalers lead to something that is there.
fn addresses(world: &World) -> Verdict {
    each(
        world.all(Kind::Service).filter(|service| service.body["spec"].get("selector").is_some()),
        |service| {
            let workload =
                world.all_workloads().find(|workload| component(workload) == component(service)).unwrap();
            holds(workload.namespace == service.namespace, || said(service, "its pods are elsewhere"))?;
            let pod = &template(workload)["spec"];
            let ports: Vec<&Value> =
                items(&pod["containers"]).flat_map(|container| items(&container["ports"])).collect();
            each(items(&service.body["spec"]["ports"]), |port| {
                let hit = ports.iter().any(|there| {
                    there["name"] == port["targetPort"]
                        && there["containerPort"] == port["port"]
                        && there["protocol"] == port["protocol"]
                });
                holds(hit, || said(service, &format!("{port} leads nowhere")))
            })
        },
    )?;
    each(world.all(Kind::Ingress), |ingress| {
        let rules = items(&ingress.body["spec"]["rules"]);
        each(rules.flat_map(|rule| items(&rule["http"]["paths"])), |path| {
            let backend = &path["backend"]["service"];
            let name = backend["name"].as_str().unwrap_or_default();
            let service = world.get(Kind::Service, &ingress.namespace, name);
            let hit = service.is_some_and(|service| {
                items(&service.body["spec"]["ports"]).any(|port| port["port"] == backend["port"]["number"])
            });
            holds(hit, || said(ingress, &format!("{path} leads nowhere")))
        })
    })?;
    each(world.all(Kind::EndpointSlice), |slice| {
        let service = slice.body["metadata"]["labels"]["kubernetes.io/service-name"].as_str();
        let service = service.and_then(|name| world.get(Kind::Service, &slice.namespace, name));
        holds(service.is_some(), || said(slice, "belongs to no Service"))
    })
}

#[test]
fn pods_are_restricted_and_whole_and_no_secret_is_written_down() {
    check(14_000, generate::platform, |platform| {
        let world = World::of(platform);
        pods::flaw(&world).or_else(|| pods::secret_value(&world)).map_or(Ok(()), Err)
    });
}

#[test]
fn stores_outlive_their_platform_and_the_rest_does_not() {
    check(10_000, generate::platform, |platform| {
        let world = World::of(platform);
        let uid = platform.metadata.uid.clone();
        each(&world.objects, |object| {
            let metadata = &object.body["metadata"];
            let owners: Vec<&Value> = items(&metadata["ownerReferences"]).collect();
            let name = component(object).as_str().unwrap_or_default();
            let is_outside = (name == "postgres" && !world.plan.runs(Store::Postgres)
                || name == "redis" && !world.plan.runs(Store::Redis))
                && object.kind != Kind::ExternalSecret;
            let is_copy = matches!(object.content, Content::CopiedFrom { .. });
            let is_claim = object.kind == Kind::PersistentVolumeClaim;
            let is_store =
                (["redis", "sentinel", "postgres"].contains(&name) && !is_outside && !is_copy) || is_claim;
            holds((object.lifetime == Lifetime::Store) == is_store, || said(object, "wrong lifetime"))?;
            let uid_on_label = metadata["labels"].get(labels::PLATFORM_UID).and_then(Value::as_str);
            holds(uid_on_label == uid.as_deref(), || said(object, "its label does not say whose it is"))?;
            match &uid {
                // Kubernetes deletes what has an owner in another namespace.
                Some(uid) if !is_store && object.namespace == world.plan.identity.namespace => holds(
                    owners.len() == 1 && owners[0]["uid"] == *uid && owners[0]["controller"] == true,
                    || said(object, &format!("owners {owners:?}")),
                ),
                _ => holds(owners.is_empty(), || said(object, &format!("owners {owners:?}"))),
            }
        })
    });
}

#[test]
fn autoscalers_own_replicas_and_budgets_never_block_a_single_pod() {
    check(10_000, generate::platform, |platform| {
        let world = World::of(platform);
        each(world.all(Kind::HorizontalPodAutoscaler), |autoscaler| {
            let spec = &autoscaler.body["spec"];
            let target = spec["scaleTargetRef"]["name"].as_str().unwrap_or_default();
            let Some(target) = world.get(Kind::Deployment, &autoscaler.namespace, target) else {
                return Err(said(autoscaler, "has no target"));
            };
            holds(target.body["spec"].get("replicas").is_none(), || said(target, "fights its autoscaler"))?;
            holds(target.seed_replicas.is_some_and(|seed| seed >= 1 && spec["minReplicas"] == seed), || {
                said(target, &format!("starts with {:?}", target.seed_replicas))
            })?;
            holds(items(&spec["metrics"]).next().is_some(), || said(autoscaler, "scales on nothing"))
        })?;
        each(world.all(Kind::ScaledObject), |scaled| {
            let spec = &scaled.body["spec"];
            let name = spec["scaleTargetRef"]["name"].as_str().unwrap_or_default();
            let Some(target) = world.get(Kind::Deployment, &scaled.namespace, name) else {
                return Err(said(scaled, "has no target"));
            };
            holds(
                target.seed_replicas.is_some_and(|seed| seed >= 1 && spec["minReplicaCount"] == seed),
                || said(target, &format!("starts with {:?}", target.seed_replicas)),
            )?;
            holds(items(&spec["triggers"]).next().is_some(), || said(scaled, "scales on nothing"))?;
            each(items(&spec["triggers"]), |trigger| {
                let Some(login) = trigger["authenticationRef"]["name"].as_str() else { return Ok(()) };
                holds(world.get(Kind::TriggerAuthentication, &scaled.namespace, login).is_some(), || {
                    said(scaled, "logs in with nothing")
                })
            })
        })?;
        each(world.workloads(), |workload| {
            let scalers = [Kind::HorizontalPodAutoscaler, Kind::ScaledObject]
                .into_iter()
                .filter(|kind| world.get(*kind, &workload.namespace, &workload.name).is_some())
                .count();
            holds(scalers < 2, || said(workload, "two autoscalers scale it"))?;
            let is_scaled = scalers > 0;
            let replicas = workload.body["spec"].get("replicas");
            holds(replicas.is_none() == is_scaled, || said(workload, "nobody, or two, own its replicas"))?;
            holds(workload.seed_replicas.is_some() == is_scaled, || {
                said(workload, "seeded without autoscaler")
            })
        })?;
        each(world.all(Kind::PodDisruptionBudget), |budget| {
            let workload = world.workloads().find(|workload| workload.name == budget.name).unwrap();
            let fewest = workload.body["spec"]["replicas"].as_i64().or(workload.seed_replicas.map(i64::from));
            holds(fewest >= Some(2), || said(budget, &format!("for {fewest:?} pods")))
        })
    });
}

/// Two platforms of one name, the second as an edit of the first.
#[allow(clippy::large_stack_arrays)] // two resources, in tests alone
fn edit(tape: &mut Tape) -> [TradingPlatform; 2] {
    let first = generate::platform(tape);
    let mut second = if tape.chance(50) { generate::platform(tape) } else { first.clone() };
    let spec = generate::platform(tape).spec;
    match tape.below(6) {
        0 => second.spec.version = spec.version,
        1 => {
            second.spec.backend =
                spec.backend.filter(|backend| backend.connects_to.is_none()).or(second.spec.backend);
        }
        2 => second.spec.environment = spec.environment,
        3 => second.spec.redis = spec.redis,
        4 => second.spec.deletion = spec.deletion,
        _ => second.spec.autoscaling = spec.autoscaling,
    }
    second.metadata.name.clone_from(&first.metadata.name);
    second.metadata.namespace.clone_from(&first.metadata.namespace);
    second.metadata.uid = Some("0b5e5c1e-5f0e-4b0e-9a5f-0123456789ab".to_owned());
    let mut first = first;
    first.metadata.uid.clone_from(&second.metadata.uid);
    [first, second]
}

#[test]
fn rendering_is_repeatable_and_digests_change_exactly_with_the_document() {
    check(6000, edit, |[first, second]| {
        let worlds = [World::of(first), World::of(second)];
        let again = World::of(first);
        each(worlds[0].objects.iter().zip(&again.objects), |(one, other)| {
            holds(one.body == other.body && one.digest == other.digest, || said(one, "rendered differently"))
        })?;
        each(&worlds[0].objects, |before| {
            let annotation = &before.body["metadata"]["annotations"][labels::APPLIED];
            holds(*annotation == before.digest, || said(before, "does not carry its digest"))?;
            let Some(after) = worlds[1].get(before.kind, &before.namespace, &before.name) else {
                return Ok(());
            };
            let is_same = unsealed(before) == unsealed(after);
            holds(is_same == (before.digest == after.digest), || said(before, "digest and document disagree"))
        })
    });
}

/// The document without its own digest.
fn unsealed(object: &Object) -> Value {
    let mut body = object.clone().into_body();
    body["metadata"]["annotations"].as_object_mut().unwrap().remove(labels::APPLIED);
    body
}

/// What is live after the steps were taken.
fn after(steps: &Steps, mut live: Observed) -> Observed {
    for prune in steps.prune_first.iter().chain(&steps.prune) {
        live.remove(&prune.key);
    }
    live.extend(steps.apply.iter().map(|apply| (apply.object.key(), child(&apply.object))));
    // Their sets are made anew.
    live.extend(steps.grow.iter().map(|growth| (growth.object.key(), child(&growth.object))));
    for database in &steps.hibernate {
        let workload = live.get_mut(&database.key).and_then(|child| child.workload.as_mut());
        workload.unwrap().hibernation = Hibernation::Done;
    }
    live
}

#[test]
fn a_fresh_platform_settles_in_one_round() {
    check(16_000, generate::platform, |platform| {
        let world = World::of(platform);
        let first = steps(&world.plan, &world.objects, &Observed::new());
        holds(first.apply.len() == world.objects.len(), || "not everything is applied".to_owned())?;
        holds(first.prune.is_empty() && first.prune_first.is_empty(), || "something is pruned".to_owned())?;
        let mut live = after(&first, Observed::new());
        let mut second = steps(&world.plan, &world.objects, &live);
        if archives(&world) {
            // A database names its bucket when that is there.
            live = after(&second, live);
            second = steps(&world.plan, &world.objects, &live);
        }
        at_rest(&second)?;
        holds(second.unchanged.len() == world.objects.len(), || "not everything is at rest".to_owned())?;
        let reported = status(&world.plan, &second, &live, None, then());
        well_formed(&reported)?;
        let ready = reported.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
        let problems = world.plan.problems.iter().any(|problem| !trading_core::status::is_warning(problem));
        holds((ready.status == "True") != problems, || format!("{ready:?} with {:?}", world.plan.problems))
    });
}

fn archives(world: &World) -> bool {
    world.objects.iter().any(|object| object.kind == Kind::ObjectStore)
}

fn at_rest(steps: &Steps) -> Verdict {
    let applied: Vec<String> = steps.apply.iter().map(|apply| said(&apply.object, "applied")).collect();
    holds(applied.is_empty(), || format!("{applied:?}"))?;
    holds(steps.grow.is_empty(), || format!("{:?} grow", steps.grow))?;
    holds(steps.hibernate.is_empty(), || format!("{:?} hibernate", steps.hibernate))?;
    holds(steps.prune.is_empty() && steps.prune_first.is_empty(), || {
        format!("{:?} {:?} pruned", steps.prune_first, steps.prune)
    })
}

#[test]
fn an_edited_platform_settles_and_equals_a_fresh_one() {
    check(10_000, edit, |[first, second]| settles(first, second));
}

/// Once the second is applied over the first, everything is as if it had been the first.
fn settles(first: &TradingPlatform, second: &TradingPlatform) -> Verdict {
    let (before, now) = (World::of(first), World::of(second));
    let live = observed(&before.objects);
    let change = steps(&now.plan, &now.objects, &live);
    let mut live = after(&change, live);
    let mut rest = steps(&now.plan, &now.objects, &live);
    // What belongs to servers goes after them, and a pooler after its clients.
    let ends = |prune: &trading_core::step::Prune| prune.key.kind.serves_data();
    let pools =
        |world: &World| world.plan.postgres.as_ref().is_some_and(|database| database.pooler.is_some());
    let leaves = pools(&before) && !pools(&now);
    let one_more = change.prune.iter().any(ends) || !change.hibernate.is_empty() || leaves;
    // A database goes to another bucket when that is there, and the one before goes when nobody names it.
    let rounds = if archives(&before) || archives(&now) { 2 } else { usize::from(one_more) };
    for _ in 0..rounds {
        live = after(&rest, live);
        rest = steps(&now.plan, &now.objects, &live);
    }
    at_rest(&rest)?;
    well_formed(&status(&now.plan, &rest, &live, None, then()))?;
    let wished: BTreeSet<_> = now.objects.iter().map(Object::key).collect();
    each(live.iter().filter(|(key, _)| !wished.contains(*key)), |(key, child)| {
        let is_data = key.kind == Kind::PersistentVolumeClaim
            || matches!(key.kind, Kind::Secret | Kind::Cluster | Kind::ObjectStore)
                && now.plan.data == DataPolicy::Retain;
        let keeps_running = store_of(&child.component)
            .is_some_and(|store| !now.plan.runs(store) && !now.plan.acknowledged.contains(&store));
        // Everything of a store whose mode or namespace can't be changed under its data waits.
        let is_of_data = |reason: &str| matches!(reason, "StoreModeDiffers" | "StoreMoved");
        let is_blocked = rest.problems.iter().any(|problem| is_of_data(problem.reason));
        let is_blocked = is_blocked && store_of(&child.component).is_some();
        holds(child.is_store && (is_data || keeps_running || is_blocked), || format!("{key:?} is left over"))
    })?;
    each(wished.iter().filter(|key| !rest.held.contains(key)), |key| {
        let (child, object) = (&live[key], now.get(key.kind, &key.namespace, &key.name).unwrap());
        // Admission refuses what shrinks; what got past it stays as it is.
        let is_kept = rest.problems.iter().any(|problem| {
            problem.reason == CANNOT_SHRINK && problem.component.as_ref() == Some(&object.component)
        });
        holds(is_kept || child.digest.as_ref() == Some(&object.digest), || {
            said(object, "is not what a fresh one is")
        })
    })
}

/// What an optional field made or changed goes with it.
#[test]
fn every_optional_field_can_be_set_and_removed() {
    let schema = &open_api_schema()["properties"]["spec"];
    let mut wanted = BTreeSet::new();
    fields(schema, "", &mut wanted);
    let mut needed = BTreeSet::new();
    required(schema, "", &mut needed);
    wanted.retain(|field| !needed.contains(field));
    let mut tape = Tape::of_seed(0);
    for _ in 0..4000 {
        let with = generate::platform(&mut tape);
        let resource = serde_json::to_value(&with).unwrap();
        let mut there = Vec::new();
        pointers(&resource["spec"], "/spec", &mut there);
        for pointer in there {
            let path = collapsed(&of_schema(pointer.trim_start_matches("/spec")));
            if !wanted.contains(&path) {
                continue;
            }
            let mut removed = resource.clone();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            removed.pointer_mut(parent).and_then(Value::as_object_mut).unwrap().remove(name);
            let without: TradingPlatform = serde_json::from_value(removed).unwrap();
            settles(&with, &without).unwrap_or_else(|error| panic!("without {pointer}: {error}"));
            wanted.remove(&path);
        }
    }
    assert!(wanted.is_empty(), "never removed: {wanted:#?}");
}

/// Fields that their parent can't be without.
fn required(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    let names = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    found.extend(names.map(|name| collapsed(&format!("{path}/{name}"))));
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        required(inner, &format!("{path}/{name}"), found);
    }
    if schema.get("items").is_some() {
        required(&schema["items"], &format!("{path}[]"), found);
    }
}

/// A pointer into a resource as a path in the schema: entries of lists have no number.
fn of_schema(pointer: &str) -> String {
    pointer.split('/').skip(1).fold(String::new(), |path, segment| {
        let is_index = segment.chars().all(|c| c.is_ascii_digit());
        if is_index { format!("{path}[]") } else { format!("{path}/{segment}") }
    })
}

/// A platform, and in which state each Secret and `ConfigMap` that it consumes is.
fn with_references(tape: &mut Tape) -> (TradingPlatform, Vec<u8>) {
    let platform = generate::platform(tape);
    let states = (0..16).map(|_| tape.copy(&[0, 0, 1, 2])).collect();
    (platform, states)
}

#[test]
fn what_is_missing_holds_its_consumers_and_nothing_else() {
    check(9000, with_references, |(platform, states)| {
        let mut inputs = Inputs::offline(then());
        let consumed = references::all(&resolve(platform, &inputs));
        let all_keys = generate::KEYS.iter().chain(&["username"]);
        let keys: BTreeMap<String, String> =
            all_keys.map(|key| ((*key).to_owned(), "x".to_owned())).collect();
        let known = consumed.iter().enumerate().map(|(index, reference)| {
            let state = match states[index % states.len()] {
                0 => ReferenceState::Present(keys.clone()),
                1 => ReferenceState::Absent,
                _ => ReferenceState::Present(BTreeMap::new()),
            };
            (reference.clone(), state)
        });
        inputs.references = Some(known.collect());
        let plan = resolve(platform, &inputs);
        let objects = render(&plan);
        let next = steps(&plan, &objects, &Observed::new());
        let waiting: BTreeSet<&str> = plan
            .components
            .iter()
            .filter(|component| {
                component.references.iter().any(|item| !item.optional && is_short_of(&inputs, item))
            })
            .map(|component| component.name.as_str())
            .collect();
        each(&objects, |object| {
            let runs_pods =
                [Kind::Deployment, Kind::StatefulSet].contains(&object.kind) || object.kind.scales();
            let is_copy = matches!(object.content, Content::CopiedFrom { .. } | Content::FilledFrom { .. });
            if store_of(&object.component).is_some() || object.component == RUNTIME || is_copy {
                return Ok(());
            }
            let is_held = next.held.contains(&object.key());
            let waits = runs_pods && waiting.contains(object.component.as_str());
            holds(is_held == waits, || said(object, &format!("held: {is_held}; waiting: {waiting:?}")))
        })?;
        let reported = status(&plan, &next, &Observed::new(), None, then());
        well_formed(&reported)?;
        each(&reported.components, |component| {
            let waits = waiting.contains(component.name.as_str());
            let is_other = component.kind != "Deployment";
            holds(is_other || (component.state == "Waiting") == waits, || format!("{component:?}"))
        })
    });
}

/// Whether something of what is consumed is not there.
fn is_short_of(inputs: &Inputs, item: &trading_core::plan::ConsumedReference) -> bool {
    match &inputs.references.as_ref().unwrap()[&item.reference] {
        ReferenceState::Absent => true,
        ReferenceState::Present(keys) => {
            assert!(matches!(item.reference.kind, ReferenceKind::Secret | ReferenceKind::ConfigMap));
            item.keys.iter().any(|key| !keys.contains_key(key))
        }
    }
}

/// What the apiserver asks of a status: lists that are maps have no key twice, reasons are words.
fn well_formed(status: &trading_api::status::TradingPlatformStatus) -> Verdict {
    let unique = |what: &str, names: Vec<&str>| {
        let different: BTreeSet<&str> = names.iter().copied().collect();
        holds(different.len() == names.len(), || format!("status.{what} has a name twice: {names:?}"))
    };
    unique("components", status.components.iter().map(|item| item.name.as_str()).collect())?;
    unique("endpoints", status.endpoints.iter().map(|item| item.name.as_str()).collect())?;
    unique("effective", status.effective.iter().map(|item| item.field.as_str()).collect())?;
    unique("conditions", status.conditions.iter().map(|item| item.type_.as_str()).collect())?;
    each(&status.conditions, |condition| {
        let is_word = condition.reason.starts_with(|c: char| c.is_ascii_alphabetic())
            && condition.reason.bytes().all(|c| c.is_ascii_alphanumeric());
        holds(is_word && condition.reason.len() <= 1024, || format!("{condition:?}"))?;
        holds(condition.message.len() <= 32_768, || format!("{} is too long", condition.type_))
    })
}

/// A platform in which one value was replaced by an odd one. Whatever admission lets through must be
/// read and rendered.
fn damaged(tape: &mut Tape) -> Value {
    let odd = [
        json!(0),
        json!(1),
        json!(-1),
        json!(i32::MAX),
        json!(i64::from(i32::MAX) + 1),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(0.5),
        json!(1e300),
        json!(true),
        json!(null),
        json!(""),
        json!("a"),
        json!("0"),
        json!("-1"),
        json!("100%"),
        json!("1e9999"),
        json!("9".repeat(32)),
        json!("é"),
        json!("\u{0}"),
        json!(" "),
        json!("x".repeat(64)),
        json!([]),
        json!({}),
        json!([{}]),
        json!({"a": "b"}),
        json!(["a"]),
        json!([null]),
    ];
    let mut platform = serde_json::to_value(generate::platform(tape)).unwrap();
    for _ in 0..=tape.below(3) {
        let mut places = Vec::new();
        pointers(&platform["spec"], "/spec", &mut places);
        places.push("/metadata/name".to_owned());
        let place = &places[tape.below(places.len())];
        let value = platform.pointer_mut(place).unwrap();
        *value = odd[tape.below(odd.len())].clone();
    }
    platform
}

fn pointers(value: &Value, path: &str, found: &mut Vec<String>) {
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                found.push(format!("{path}/{}", escaped(key)));
                pointers(inner, &format!("{path}/{}", escaped(key)), found);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                found.push(format!("{path}/{index}"));
                pointers(inner, &format!("{path}/{index}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn whatever_admission_lets_through_is_read_and_rendered() {
    check(3000, damaged, |resource| {
        if !admission::check(resource, None).is_empty() {
            return Ok(());
        }
        let platform: TradingPlatform = serde_json::from_value(admission::without_nulls(resource))
            .map_err(|error| format!("admitted, but not read: {error}"))?;
        let world = World::of(&platform);
        let next = steps(&world.plan, &world.objects, &Observed::new());
        well_formed(&status(&world.plan, &next, &Observed::new(), None, then()))?;
        pods::flaw(&world).map_or(Ok(()), Err)
    });
}
