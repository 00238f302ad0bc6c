//! Writes what is next while Redis' password changes. Each write is made from what the Secret holds just then,
//! names the version that it changes, and can be repeated.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use trading_core::{
    credentials::consumers_of,
    digest,
    inputs::{Reference, ReferenceKind},
    plan::{Plan, REDIS},
    redis_password::{self, Change},
    step::Steps,
};

use super::{Context, ReconcileError, generate, logins, references};

/// Key of the password that clients have.
const PASSWORD: &str = "password";

/// What is to be written now, and whether it waits for pods to end; `None` where nothing changes.
pub async fn next(
    plan: &Plan,
    steps: &Steps,
    context: &Context,
) -> Result<Option<(Option<Change>, bool)>, ReconcileError> {
    let (Some(redis), Some(stage)) = (&plan.redis, &steps.redis_password) else { return Ok(None) };
    let Some(ending) = redis_password::ending(plan, stage) else {
        return Ok(redis_password::change(plan, stage).map(|change| (Some(change), false)));
    };
    let consumers = consumers_of(plan, REDIS, &redis.password.secret);
    let are_gone = logins::are_settled(plan, consumers, context).await?;
    Ok(Some((are_gone.then_some(ending), true)))
}

/// Makes the change, unless the Secret is not what it was decided from.
pub async fn change(change: &Change, plan: &Plan, context: &Context) -> Result<(), ReconcileError> {
    let Some(redis) = &plan.redis else { return Ok(()) };
    let secret = redis_password::secret(plan, redis);
    let what = || format!("Secret {:?}", secret.name);
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &secret.namespace);
    let mut live = api.get(&secret.name).await.map_err(ReconcileError::reading(what()))?;
    if let Some(data) = data(change, live.data.as_ref().unwrap_or(&BTreeMap::new())) {
        let body = json!({"metadata": {"resourceVersion": live.resource_version()}, "data": data});
        let params = PatchParams { field_manager: Some(generate::generator()), ..PatchParams::default() };
        live = api
            .patch(&secret.name, &params, &Patch::Merge(&body))
            .await
            .map_err(ReconcileError::writing(what()))?;
    }
    // What was just read or written need not be read again.
    let reference = Reference {
        kind: ReferenceKind::Secret,
        namespace: secret.namespace.clone(),
        name: secret.name.clone(),
    };
    let version = live.resource_version().unwrap_or_default();
    context.has_read(&reference, &version, &references::digests(live.data));
    Ok(())
}

/// The keys that change; `None` where it is done already, or the values are others.
fn data(change: &Change, live: &BTreeMap<String, ByteString>) -> Option<Value> {
    let number = |key: &str| -> Option<u32> { std::str::from_utf8(&live.get(key)?.0).ok()?.parse().ok() };
    let is = |key: &str, digest: &String| live.get(key).is_some_and(|it| digest::of_bytes(&it.0) == *digest);
    let text = |number: &u32| ByteString(number.to_string().into_bytes());
    if matches!(change, Change::Make(_) | Change::Give(..)) && live.contains_key("previous") {
        return None;
    }
    match change {
        Change::Make(generation) => {
            let is_made = live.contains_key("next") && number("next-generation") == Some(*generation);
            (!is_made && number("generation").unwrap_or(1) < *generation).then(|| {
                let password = ByteString(generate::password().into_bytes());
                json!({"next": password, "next-generation": text(generation)})
            })
        }
        Change::Give(generation, next) => {
            let is_meant = is("next", next) && number("next-generation") == Some(*generation);
            is_meant.then(|| {
                json!({"password": live.get("next"), "generation": text(generation),
                    "previous": live.get(PASSWORD), "next": null, "next-generation": null})
            })
        }
        Change::Retire(previous) => is("previous", previous).then(|| json!({"previous": null})),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(pairs: &[(&str, &str)]) -> BTreeMap<String, ByteString> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec()))).collect()
    }

    fn of(text: &str) -> String {
        digest::of_bytes(text.as_bytes())
    }

    fn base64(text: &str) -> Value {
        json!(ByteString(text.as_bytes().to_vec()))
    }

    #[test]
    fn a_change_is_made_once_and_only_of_what_was_seen() {
        let first = held(&[("password", "a")]);
        let made = data(&Change::Make(2), &first).expect("it is made");
        assert_eq!(made["next-generation"], base64("2"));
        assert!(made["next"].as_str().is_some_and(|next| next.len() == 44), "{made}");
        assert!(made.get("password").is_none());

        let both = held(&[("password", "a"), ("next", "b"), ("next-generation", "2")]);
        assert_eq!(data(&Change::Make(2), &both), None);
        assert_ne!(data(&Change::Make(3), &both).expect("nobody has it")["next"], base64("b"));
        assert_eq!(data(&Change::Give(2, of("c")), &both), None, "servers don't take this one");
        assert_eq!(data(&Change::Give(3, of("b")), &both), None);
        let given = data(&Change::Give(2, of("b")), &both).expect("they take it");
        let expected = json!({"password": base64("b"), "generation": base64("2"), "previous": base64("a"),
            "next": null, "next-generation": null});
        assert_eq!(given, expected);

        let after = held(&[("password", "b"), ("generation", "2"), ("previous", "a")]);
        assert_eq!(data(&Change::Give(2, of("b")), &after), None);
        assert_eq!(data(&Change::Make(2), &after), None);
        assert_eq!(data(&Change::Make(3), &after), None, "pods may still have the first");
        assert_eq!(data(&Change::Retire(of("b")), &after), None);
        assert_eq!(data(&Change::Retire(of("a")), &after), Some(json!({"previous": null})));
        let last = held(&[("password", "b"), ("generation", "2")]);
        assert_eq!(data(&Change::Retire(of("a")), &last), None);
        assert_eq!(data(&Change::Make(2), &last), None);
    }
}
