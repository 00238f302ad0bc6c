//! The schema and its rules: a real apiserver and `trading_core::admission` give the same verdicts, on the
//! release that we test on and on the oldest that we support.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::json;
use trading_api::schema::{MAX_CRD_BYTES, crd, open_api_schema};
use trading_e2e::api::cases::{self, Case};
use trading_e2e::api::constraints::{self, Broken};
use trading_e2e::api::verdict::{Court, Verdict};
use trading_e2e::api::{install_kind, platforms};
use trading_testbed::{ControlPlane, Options, Program, Programs, Release};

const CONCURRENCY: usize = 8;

static CLUSTER: LazyLock<ControlPlane> =
    LazyLock::new(|| start(Options::api()).expect("a control plane with the kind"));

fn start(options: Options) -> Result<ControlPlane> {
    let cluster = ControlPlane::start(options)?;
    install_kind(&cluster)?;
    Ok(cluster)
}

#[test]
fn the_kind_fits_into_the_annotation_of_a_client_side_apply() -> Result<()> {
    let annotation = CLUSTER.kubectl()?.run(&[
        "get",
        "crd/tradingplatforms.platform.trading",
        "-o",
        "jsonpath={.metadata.annotations.kubectl\\.kubernetes\\.io/last-applied-configuration}",
    ])?;
    ensure!(annotation.contains("openAPIV3Schema"), "it was not applied by the client");
    // As kubectl writes it: of `<`, `>` and `&` each takes six bytes.
    let size = annotation.len();
    eprintln!("the kind takes {size} bytes of {MAX_CRD_BYTES}");
    ensure!(size < MAX_CRD_BYTES, "{size} bytes of at most {MAX_CRD_BYTES}");
    Ok(())
}

/// The definition would be stored, but a field would be lost.
#[test]
fn the_apiserver_has_no_reservations_about_the_kind() -> Result<()> {
    CLUSTER.kubectl()?.wait_until_served("tradingplatforms.platform.trading")?;
    let conditions = CLUSTER.kubectl()?.run(&[
        "get",
        "crd/tradingplatforms.platform.trading",
        "-o",
        "jsonpath={range .status.conditions[*]}{.type}={.status} {end}",
    ])?;
    let accepted = conditions.contains("Established=True") && conditions.contains("NamesAccepted=True");
    ensure!(accepted, "{conditions}");
    ensure!(!conditions.contains("NonStructuralSchema=True"), "{conditions}");
    let stored = CLUSTER.kubectl()?.run(&["get", "crd/tradingplatforms.platform.trading", "-o", "json"])?;
    let stored: CustomResourceDefinition = serde_json::from_str(&stored)?;
    let schema = |definition: &CustomResourceDefinition| {
        definition.spec.versions.iter().map(|version| version.schema.clone()).collect::<Vec<_>>()
    };
    ensure!(schema(&stored) == schema(&crd()), "the stored schema differs from ours");
    Ok(())
}

#[tokio::test]
async fn bad_and_good_resources_get_the_same_verdict_from_both() -> Result<()> {
    same_verdicts(&CLUSTER).await
}

#[tokio::test]
async fn the_oldest_release_gives_the_same_verdicts() -> Result<()> {
    let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    if !ci && !Programs::cached(Release::Oldest, &[Program::Apiserver]) {
        eprintln!(
            "skipped: kube-apiserver {} is not built; CI=true builds it, which takes minutes",
            Release::Oldest.version()?
        );
        return Ok(());
    }
    let oldest =
        tokio::task::spawn_blocking(|| start(Options::api().with_apiserver(Release::Oldest))).await??;
    let version = oldest.client().await?.apiserver_version().await?.git_version;
    ensure!(version == Release::Oldest.version()?, "{version}");
    same_verdicts(&oldest).await
}

async fn same_verdicts(cluster: &ControlPlane) -> Result<()> {
    let court = Court::new(&cluster.client().await?).await?;
    let (bad, good) = (cases::bad()?, cases::good()?);
    let mut wrong = Vec::new();
    let mut broken = BTreeSet::new();
    for case in &bad {
        let verdict = judge(&court, case).await?;
        broken.extend(verdict.rules_of_apiserver(&court.messages));
        wrong.extend(flaws_of_refusal(case, &verdict, &court.messages));
    }
    for case in good.iter().chain(&platform_cases()?) {
        let verdict = judge(&court, case).await?;
        if verdict.apiserver.is_some() || !verdict.offline.is_empty() {
            wrong.push(format!("{}: must be admitted, but {}", case.name, in_words(&verdict)));
        }
    }
    let unbroken: Vec<_> =
        court.messages.difference(&broken).map(|message| format!("no case: {message}")).collect();
    eprintln!("{} bad and {} good resources", bad.len(), good.len());
    ensure!(wrong.is_empty(), "{} wrong verdicts:\n{}", wrong.len(), wrong.join("\n"));
    ensure!(unbroken.is_empty(), "rules that no bad resource breaks:\n{}", unbroken.join("\n"));
    Ok(())
}

/// A bad value for every constraint that the schema has, not only for those that somebody thought of.
#[tokio::test]
async fn every_constraint_of_the_schema_is_kept_by_both() -> Result<()> {
    let schema = open_api_schema();
    let spec = &schema["properties"]["spec"];
    let mut broken = BTreeMap::new();
    let sound = platforms::all()?.into_iter().chain([platforms::with_add_ons()?]);
    for resource in sound.chain(cases::good()?.into_iter().map(|case| case.resource)) {
        constraints::broken(&resource, spec, &mut broken)?;
    }
    // The rules let nobody use it: the value of a Pods metric is always averaged.
    let unusable = ".component.autoscaling.metrics[].pods.target.value ";
    let untried: Vec<_> = constraints::all(spec)
        .into_iter()
        .filter(|constraint| !broken.contains_key(constraint) && !constraint.starts_with(unusable))
        .collect();
    ensure!(untried.is_empty(), "no sound resource has a value for\n{}", untried.join("\n"));

    let court = Court::new(&CLUSTER.client().await?).await?;
    let number = broken.len();
    let wrong: Vec<Option<String>> = stream::iter(broken.into_values())
        .map(|broken| flaw_of_constraint(&court, broken))
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await?;
    let wrong: Vec<String> = wrong.into_iter().flatten().collect();
    eprintln!("{number} constraints");
    ensure!(wrong.is_empty(), "{} wrong verdicts:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// Both must refuse it, and both must name the field.
async fn flaw_of_constraint(court: &Court, broken: Broken) -> Result<Option<String>> {
    let Broken { constraint, field, resource } = broken;
    let verdict = court.judge(&resource, None).await.with_context(|| constraint.clone())?;
    let named = verdict.apiserver.as_ref().is_some_and(|said| said.contains(&field))
        && verdict.offline.iter().any(|violation| violation.field.starts_with(&field));
    Ok((!named).then(|| format!("{constraint}: {field} is not refused by name; {}", in_words(&verdict))))
}

/// What 1.31 can't afford as CEL is refused without a cluster and by the operator (`sim_edits`), not by the
/// apiserver: where that changes, the rule belongs into the schema.
#[tokio::test]
async fn what_only_the_operator_refuses_is_admitted() -> Result<()> {
    let court = Court::new(&CLUSTER.client().await?).await?;
    let greedy = json!({ "requests": { "cpu": 2 }, "limits": { "cpu": 1 } });
    let dear = [
        ("services", json!([{ "name": "a", "image": { "repository": "a" }, "resources": greedy }])),
        ("quota", json!({ "hard": { "pods": "1500m" } })),
    ];
    for (field, value) in dear {
        let mut resource = platforms::all()?.pop().context("no platform")?;
        resource["spec"][field] = value;
        let verdict = court.judge(&resource, None).await?;
        ensure!(verdict.apiserver.is_none() && verdict.offline.len() == 1, "{field}: {}", in_words(&verdict));
    }
    Ok(())
}

async fn judge(court: &Court, case: &Case) -> Result<Verdict> {
    court.judge(&case.resource, case.old.as_ref()).await.with_context(|| case.name.clone())
}

fn platform_cases() -> Result<Vec<Case>> {
    let case = |name: &str, resource| Case {
        name: name.to_owned(),
        field: String::new(),
        message: String::new(),
        old: None,
        resource,
    };
    let all = platforms::all()?.into_iter();
    Ok(all
        .map(|platform| case(platform["metadata"]["name"].as_str().unwrap_or_default(), platform.clone()))
        .collect())
}

fn flaws_of_refusal(case: &Case, verdict: &Verdict, messages: &BTreeSet<String>) -> Vec<String> {
    let mut flaws = Vec::new();
    let Some(said) = &verdict.apiserver else {
        return vec![format!("{}: the apiserver admits it; {}", case.name, in_words(verdict))];
    };
    if !verdict.offline.iter().any(|violation| violation.to_string().contains(&case.message)) {
        flaws.push(format!("{}: {:?} is not said offline; {}", case.name, case.message, in_words(verdict)));
    }
    let by_rule = messages.iter().any(|message| message.contains(&case.message));
    if by_rule && !said.contains(&case.message) {
        flaws.push(format!("{}: the apiserver does not say {:?}: {said}", case.name, case.message));
    }
    if !names_field(said, &case.field) {
        flaws.push(format!("{}: the apiserver does not name {}: {said}", case.name, case.field));
    }
    if by_rule && verdict.rules_of_apiserver(messages) != verdict.rules_offline(messages) {
        flaws.push(format!("{}: not the same rules; {}", case.name, in_words(verdict)));
    }
    flaws
}

/// Without the quotes around keys, in which the two differ.
fn names_field(said: &str, field: &str) -> bool {
    said.contains(field) || said.contains(field.trim_start_matches('.'))
}

fn in_words(verdict: &Verdict) -> String {
    let offline: Vec<_> = verdict.offline.iter().map(ToString::to_string).collect();
    format!(
        "apiserver: {}; offline: {}",
        verdict.apiserver.as_deref().unwrap_or("admitted"),
        if offline.is_empty() { "admitted".to_owned() } else { offline.join(" | ") }
    )
}

/// As `kubectl apply` would send it without strict validation: an unknown field would be dropped silently,
/// so the schema must not keep it either.
#[tokio::test]
async fn unknown_fields_are_pruned_where_they_are_not_refused() -> Result<()> {
    let client = CLUSTER.client().await?;
    trading_e2e::api::namespace(&client, "pruned").await?;
    let mut platform = platforms::all()?.pop().context("no platform")?;
    platform["spec"]["redis"]["nonesuch"] = json!(1);
    let api = kube::Api::<kube::core::DynamicObject>::namespaced_with(
        client,
        "pruned",
        &kube::core::ApiResource::erase::<trading_api::TradingPlatform>(&()),
    );
    let params = kube::api::PostParams { dry_run: true, ..kube::api::PostParams::default() };
    let made = api.create(&params, &serde_json::from_value(platform)?).await?;
    ensure!(made.data.pointer("/spec/redis/nonesuch").is_none(), "{}", made.data);
    Ok(())
}
