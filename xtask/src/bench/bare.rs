//! The bare client: applies the same objects and does nothing else. No operator can be faster than that.

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use trading_core::object::Object;

use super::cpu;
use super::plane::{Account, CONCURRENCY, Plane, namespace};
use super::requests::{Class, Requests, span};
use super::result::Cost;
use super::subject::Subject;

/// A namespace beside those of the platforms.
pub const WARM_UP: &str = "warm-up";

/// Applies every object of so many platforms on a control plane of its own; returns what it took.
pub async fn measure(subject: &Subject, platforms: usize) -> Result<Cost> {
    let plane = Plane::start(subject, platforms).await?;
    let client = plane.client(Account::Bare).await?;
    let objects: Vec<_> = (0..platforms)
        .map(namespace)
        .flat_map(|namespace| {
            let objects = subject.objects(&namespace);
            objects.into_iter().map(move |object| (namespace.clone(), object))
        })
        .collect();
    let expected = objects.len();
    let started = Timestamp::now();
    let cpu_before = cpu::seconds()?;
    apply(&client, objects).await?;
    let cpu_seconds = cpu::seconds()? - cpu_before;

    let mut entries = plane.requests(started)?;
    entries.retain(|entry| entry.user == Account::Bare.user());
    let created = Requests::count(&entries).of(Class::Create);
    ensure!(created == expected, "the bare client made {created} of {expected} objects");
    let time = span(&entries, &entries).context("the bare client asked for nothing")?;
    Ok(Cost { time, cpu_seconds })
}

/// Makes one platform's objects and removes them, so that neither of those who are measured pays for what
/// the apiserver does only once.
pub async fn warm_up(plane: &Plane, subject: &Subject) -> Result<()> {
    plane.try_platform(subject, WARM_UP).await?;
    let client = plane.client(Account::Bare).await?;
    let objects = subject.objects(WARM_UP);
    apply(&client, objects.iter().cloned().map(|object| (WARM_UP.to_owned(), object)).collect()).await?;
    for object in objects {
        api(&client, WARM_UP, &object).delete(&object.name, &DeleteParams::default()).await?;
    }
    Ok(())
}

async fn apply(client: &Client, objects: Vec<(String, Object)>) -> Result<()> {
    // As the operator asks: no search for unknown fields, and answers of metadata only.
    let params = PatchParams::apply("bare-client").validation_ignore();
    stream::iter(objects)
        .map(|(namespace, object)| {
            let (api, params) = (api(client, &namespace, &object), params.clone());
            async move {
                let result = api.patch_metadata(&object.name, &params, &Patch::Apply(&*object.body)).await;
                result.with_context(|| format!("{} {}", object.kind, object.name))
            }
        })
        .buffer_unordered(CONCURRENCY)
        .try_for_each(|_| async { Ok(()) })
        .await
}

fn api(client: &Client, namespace: &str, object: &Object) -> Api<DynamicObject> {
    let info = object.kind.info();
    let resource = ApiResource {
        group: info.group.to_owned(),
        version: info.version.to_owned(),
        api_version: info.kind.api_version(),
        kind: info.kind.to_string(),
        plural: info.plural.to_owned(),
    };
    Api::namespaced_with(client.clone(), namespace, &resource)
}
