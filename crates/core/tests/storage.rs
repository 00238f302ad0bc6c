//! What is said of the classes of volumes that a platform asks for.

#![allow(clippy::unwrap_used)] // resources in tests are as the test writes them

mod support;

use std::{collections::BTreeMap, fs, sync::Arc};

use k8s_openapi::api::storage::v1::StorageClass as Class;
use serde::Deserialize;
use serde_json::json;
use support::{child, observed, repository, shop, then};
use trading_api::status::TradingPlatformStatus;
use trading_core::{
    inputs::Inputs,
    kinds::Kind,
    object::Object,
    render::render,
    resolve::resolve,
    status::status,
    step::{Steps, steps},
    storage::{StorageClass, StorageClasses},
};

const GROWS: StorageClass = StorageClass { expands: true, is_default: false };

fn report(classes: Option<&[(&str, StorageClass)]>) -> TradingPlatformStatus {
    let platform = shop(&json!({
        "redis": {"mode": "Standalone", "storage": {"size": "1Gi", "storageClassName": "fast"}},
        "sharedVolumes": [{"name": "logs", "size": "1Gi"}],
    }));
    let classes: Option<StorageClasses> =
        classes.map(|all| all.iter().map(|(name, class)| ((*name).to_owned(), *class)).collect());
    let plan =
        resolve(&platform, &Inputs { storage_classes: classes.map(Arc::new), ..Inputs::offline(then()) });
    let objects = render(&plan);
    let live = observed(&objects);
    status(&plan, &steps(&plan, &objects, &live), &live, None, then())
}

/// Status, reason and message of a condition.
fn condition(status: &TradingPlatformStatus, type_: &str) -> Option<(String, String, String)> {
    let found = status.conditions.iter().find(|condition| condition.type_ == type_)?.clone();
    Some((found.status, found.reason, found.message))
}

#[test]
fn classes_that_are_there_and_grow_are_fine() {
    let standard = StorageClass { is_default: true, ..GROWS };
    let status = report(Some(&[("fast", GROWS), ("standard", standard)]));
    let (verdict, reason, _) = condition(&status, "VolumesExpandable").unwrap();
    assert_eq!((verdict.as_str(), reason.as_str()), ("True", "Expandable"));
    assert_eq!(condition(&status, "Degraded").unwrap().0, "False");
}

#[test]
fn a_missing_class_is_a_warning_that_says_who_asks_for_it() {
    let standard = StorageClass { is_default: true, ..GROWS };
    let status = report(Some(&[("standard", standard)]));
    for type_ in ["VolumesExpandable", "Degraded"] {
        let (_, reason, message) = condition(&status, type_).unwrap();
        assert_eq!(reason, "StorageClassMissing");
        assert!(message.contains("StorageClass \"fast\", which redis asks for, does not exist"), "{message}");
    }
    assert_ne!(condition(&status, "Ready").unwrap().1, "StorageClassMissing", "volumes that exist serve");
}

#[test]
fn without_a_class_the_default_counts() {
    let (_, reason, message) =
        condition(&report(Some(&[("fast", GROWS), ("other", GROWS)])), "VolumesExpandable").unwrap();
    assert_eq!(reason, "StorageClassMissing");
    assert!(message.contains("there is no default StorageClass"), "{message}");
}

#[test]
fn a_class_that_can_not_grow_is_told_and_degrades_nothing() {
    let rigid = StorageClass { is_default: true, expands: false };
    let status = report(Some(&[("fast", GROWS), ("standard", rigid)]));
    let (verdict, reason, message) = condition(&status, "VolumesExpandable").unwrap();
    assert_eq!((verdict.as_str(), reason.as_str()), ("False", "NotExpandable"));
    assert!(message.contains("\"standard\" does not say allowVolumeExpansion: true"), "{message}");
    assert!(!message.contains("redis"), "its class grows: {message}");
    assert_eq!(condition(&status, "Degraded").unwrap().0, "False");
}

#[test]
fn where_nobody_may_look_nothing_is_said() {
    assert_eq!(condition(&report(None), "VolumesExpandable"), None);
}

/// As VibeBox' papers ask: gp3, 3,000 IOPS, encrypted, retained, and able to grow.
#[test]
fn the_documented_classes_are_those_of_the_papers() {
    let text = fs::read_to_string(repository("docs/storage-classes.yaml")).unwrap();
    let classes: BTreeMap<String, Class> = serde_yaml::Deserializer::from_str(&text)
        .map(|document| Class::deserialize(document).unwrap())
        .map(|class| (class.metadata.name.clone().unwrap(), class))
        .collect();
    assert_eq!(classes.keys().collect::<Vec<_>>(), ["efs", "fast-ssd"]);
    for class in classes.values() {
        assert_eq!(class.allow_volume_expansion, Some(true));
        assert_eq!(class.reclaim_policy.as_deref(), Some("Retain"));
    }
    let parameters = classes["fast-ssd"].parameters.as_ref().unwrap();
    for (name, value) in [("type", "gp3"), ("iops", "3000"), ("encrypted", "true")] {
        assert_eq!(parameters[name], value);
    }
}

/// What is done with a platform that asks for this, where one that asked for that runs.
fn resized(before: &str, after: &str, class: Option<StorageClass>) -> Steps {
    let with = |size: &str| {
        shop(&json!({
            "redis": {"mode": "Cluster", "storage": {"size": size, "storageClassName": "fast"}},
            "postgres": {"mode": "Managed", "version": 16, "storage": {"size": "1Gi"}, "walStorage": {"size": size}},
        }))
    };
    let inputs = Inputs::offline(then());
    let live = observed(&render(&resolve(&with(before), &inputs)));
    let classes = class.map(|class| Arc::new(BTreeMap::from([("fast".to_owned(), class)])));
    let plan = resolve(&with(after), &Inputs { storage_classes: classes, ..inputs });
    steps(&plan, &render(&plan), &live)
}

/// Sets that are written, and the sizes that their templates ask for.
fn sets_applied(steps: &Steps) -> Vec<(&str, Vec<&str>)> {
    let sets = steps.apply.iter().filter(|apply| apply.object.kind == Kind::StatefulSet);
    sets.map(|apply| (apply.object.name.as_str(), sizes(&apply.object))).collect()
}

fn sizes(set: &Object) -> Vec<&str> {
    let templates = set.body["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten();
    templates.filter_map(|claim| claim.pointer("/spec/resources/requests/storage")?.as_str()).collect()
}

#[test]
fn claims_grow_before_the_set_is_made_anew() {
    let steps = resized("1Gi", "2Gi", Some(GROWS));
    assert_eq!(sets_applied(&steps), [], "a set's templates can't be changed, and nothing else was");
    let grown: Vec<(&str, Vec<&str>, Vec<&str>)> = steps
        .grow
        .iter()
        .map(|growth| {
            let claims = growth.sizes.values().map(|size| size.0.as_str()).collect();
            (growth.set.key.name.as_str(), claims, sizes(&growth.object))
        })
        .collect();
    assert_eq!(
        grown,
        [("shop-postgres", vec!["2Gi"], vec!["1Gi", "2Gi"]), ("shop-redis", vec!["2Gi"], vec!["2Gi"])]
    );
    assert_eq!(steps.grow[1].set.uid, "uid of StatefulSet shop-redis");
}

/// The apiserver writes amounts in its own way.
#[test]
fn the_same_size_in_other_words_is_none() {
    for (live, wished) in [
        ("1Gi", "1024Mi"),
        ("2469606195200m", "2.3Gi"),
        ("1503238553600m", "1.4Gi"),
        ("8300M", "8.3G"),
        ("1070M", "1.07G"),
        ("16100M", "16.1G"),
    ] {
        let steps = resized(live, wished, None);
        assert!(steps.grow.is_empty() && steps.problems.is_empty(), "{live} {wished}: {:?}", steps.problems);
    }
}

#[test]
fn nothing_shrinks() {
    let steps = resized("2Gi", "1Gi", Some(GROWS));
    assert!(steps.grow.is_empty() && sets_applied(&steps).is_empty());
    let said: Vec<&str> = steps.problems.iter().map(|problem| problem.message.as_str()).collect();
    let expected = "volumes of redis have 2Gi and can't shrink to 1Gi";
    assert!(said.iter().any(|said| said.contains(expected)), "{said:?}");
}

#[test]
fn a_class_that_lets_nothing_grow_is_not_even_asked() {
    let steps = resized("1Gi", "2Gi", Some(StorageClass::default()));
    let grown: Vec<&str> = steps.grow.iter().map(|growth| growth.object.component.as_str()).collect();
    assert_eq!(grown, ["postgres"], "of the default class nothing is known");
    let problem = steps.problems.iter().find(|problem| problem.reason == "VolumesCannotGrow").unwrap();
    let expected = "StorageClass \"fast\" does not say allowVolumeExpansion";
    assert!(problem.message.contains(expected), "{}", problem.message);
    assert!(sets_applied(&steps).is_empty());
}

/// Whether volumes grow or not, nothing else waits for it.
#[test]
fn what_else_is_edited_is_written_with_the_sizes_that_are_there() {
    let with = |size: &str, image: &str| {
        let image = json!({"repository": "redis", "tag": image});
        shop(
            &json!({"redis": {"mode": "Standalone", "image": image, "storage": {"size": size, "storageClassName": "fast"}}}),
        )
    };
    for class in [GROWS, StorageClass::default()] {
        let inputs = Inputs::offline(then());
        let mut live = observed(&render(&resolve(&with("1Gi", "7.2"), &inputs)));
        let classes = Some(Arc::new(BTreeMap::from([("fast".to_owned(), class)])));
        let plan = resolve(&with("2Gi", "7.4"), &Inputs { storage_classes: classes, ..inputs });
        let desired = render(&plan);
        let next = steps(&plan, &desired, &live);
        assert_eq!(sets_applied(&next), [("shop-redis", vec!["1Gi"])]);
        assert_eq!(next.grow.len(), usize::from(class.expands));
        // Then it is as it should be, but for the sizes.
        let written = next.apply.iter().find(|apply| apply.object.kind == Kind::StatefulSet).unwrap();
        live.insert(written.object.key(), child(&written.object));
        assert_eq!(sets_applied(&steps(&plan, &desired, &live)), []);
    }
}

/// One that an earlier platform of this name left is taken up before anything is deleted.
#[test]
fn only_a_set_of_its_own_grows() {
    let with = |size: &str| shop(&json!({"redis": {"mode": "Standalone", "storage": {"size": size}}}));
    let inputs = Inputs::offline(then());
    let mut live = observed(&render(&resolve(&with("1Gi"), &inputs)));
    for child in live.values_mut() {
        child.platform_uid = "an earlier one".to_owned();
        child.digest = None;
    }
    let plan = resolve(&with("2Gi"), &inputs);
    let next = steps(&plan, &render(&plan), &live);
    assert_eq!((next.grow.len(), sets_applied(&next)), (0, vec![("shop-redis", vec!["1Gi"])]));
}
