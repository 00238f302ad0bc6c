//! Add-ons that come and go under a running operator: their real definitions are installed before, after
//! and removed. Nothing but their objects is lost, nobody else is delayed, nothing is restarted.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use trading_core::kinds::{AddOn, Kind};
use trading_e2e::add_ons;
use trading_e2e::sim::{
    BRIEF, Mark, Propagation, SETTLE, Space, Stack, at, database_secret, describe, platform, stays, wait_for,
};
use trading_testbed::Kubectl;
use trading_testbed::audit::Entry;

static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start().expect("the stack starts"));
/// Definitions are the cluster's, so the tests take turns.
static TURN: Mutex<()> = Mutex::const_new(());

const NAME: &str = "shop";

/// An add-on, and a platform that wants an object of it.
struct Case {
    add_on: AddOn,
    kind: Kind,
    object: &'static str,
    spec: fn() -> Value,
}

fn cases() -> [Case; 6] {
    [
        Case {
            add_on: AddOn::ExternalSecrets,
            kind: Kind::ExternalSecret,
            object: "payments",
            spec: || {
                json!({ "secrets": { "external": [{
                    "name": "payments",
                    "storeRef": { "name": "vault" },
                    "refreshInterval": "15s",
                    "data": [{ "secretKey": "stripe", "remoteRef": { "key": "prod/stripe", "property": "key" } }],
                }] } })
            },
        },
        Case {
            add_on: AddOn::PrometheusOperator,
            kind: Kind::PrometheusRule,
            object: "shop-alerts",
            spec: || {
                json!({ "monitoring": { "scrape": [
                    { "component": "backend" },
                    { "component": "frontend", "portNumber": 9100 },
                ] } })
            },
        },
        Case {
            add_on: AddOn::Keda,
            kind: Kind::ScaledObject,
            object: "shop-backend",
            spec: || {
                json!({ "backend": { "autoscaling": { "triggers": [
                    { "type": "RedisList", "source": "orders", "threshold": 100 },
                ] } } })
            },
        },
        Case {
            add_on: AddOn::VerticalPodAutoscaler,
            kind: Kind::VerticalPodAutoscaler,
            object: "shop-frontend",
            spec: || json!({ "frontend": { "verticalScaling": { "mode": "Initial" } } }),
        },
        Case {
            add_on: AddOn::Istio,
            kind: Kind::VirtualService,
            object: "shop-backend",
            spec: || {
                json!({ "mesh": {
                    "retries": { "attempts": 2 },
                    "circuitBreaker": { "maxConnections": 100 },
                } })
            },
        },
        Case {
            add_on: AddOn::GatewayApi,
            kind: Kind::HTTPRoute,
            // The host is a part of it, as a digest.
            object: "shop-ingress-4199e2b6",
            spec: || {
                json!({ "ingress": {
                    "controller": "Gateway",
                    "parentRefs": [{ "name": "edge", "namespace": "edge", "sectionName": "https" }],
                    "hosts": [{ "host": "shop.example.com" }],
                } })
            },
        },
    ]
}

impl Case {
    async fn install(&self) -> Result<()> {
        self.definitions(add_ons::install).await
    }

    async fn remove(&self) -> Result<()> {
        self.definitions(add_ons::remove).await
    }

    async fn definitions(&self, change: fn(&Kubectl, AddOn) -> Result<()>) -> Result<()> {
        let add_on = self.add_on;
        tokio::task::spawn_blocking(move || change(&STACK.kubectl()?, add_on)).await?
    }

    /// The condition that tells of the add-on's absence, and what else it means for the platform.
    async fn is_missed(&self, space: &Space<'_>) -> Result<String> {
        let missing = space.condition_is(NAME, "AddOnsAvailable", "False", "AddOnMissing", SETTLE).await?;
        if self.add_on.is_aside() {
            space.ready(NAME).await?;
        } else {
            space.condition_is(NAME, "Ready", "False", "AddOnMissing", SETTLE).await?;
        }
        Ok(missing)
    }

    /// Waits for its object, then for the condition that says so.
    async fn is_made(&self, space: &Space<'_>) -> Result<()> {
        let began = Instant::now();
        wait_for(&format!("{} {} is made", self.kind, self.object), SETTLE, async || {
            space.get(&self.kind.to_string(), self.object).await
        })
        .await?;
        eprintln!("{}: made after {:?}", self.kind, began.elapsed());
        space.condition_is(NAME, "AddOnsAvailable", "True", "Served", BRIEF).await?;
        Ok(())
    }
}

/// Does it for every add-on, side by side: each has its own definitions and namespaces, and waits most of the
/// time.
async fn for_each_add_on<T>(what: impl AsyncFn(usize, &Case) -> Result<T>) -> Result<Vec<T>> {
    let cases = cases();
    try_join_all(cases.iter().enumerate().map(|(index, case)| what(index, case))).await
}

/// A platform that wants the add-on.
async fn wanting(namespace: &str, case: &Case) -> Result<Space<'static>> {
    with(namespace, &(case.spec)()).await
}

async fn with(namespace: &str, spec: &Value) -> Result<Space<'static>> {
    let space = STACK.space(namespace).await?;
    space.put(&database_secret("a")).await?;
    space.put(&platform(NAME, spec)).await?;
    Ok(space)
}

/// Lines of the operator's log since then that somebody would be woken for.
fn alarms(before: usize) -> Result<Vec<String>> {
    let log = STACK.operator().log()?;
    let alarm = |line: &&str| line.contains(" WARN ") || line.contains(" ERROR ");
    Ok(log[before..].lines().filter(alarm).map(str::to_owned).collect())
}

/// All in one, because definitions that come and go are much work for an apiserver.
#[tokio::test]
async fn an_add_on_comes_goes_and_comes_back() -> Result<()> {
    let _turn = TURN.lock().await;
    for_each_add_on(async |_, case| case.remove().await).await?;
    let log = STACK.operator().log()?.len();
    let process = STACK.operator().id();
    let spaces = for_each_add_on(async |index, case| {
        let namespace = format!("addon-{index}");
        comes_goes_and_comes_back(&namespace, case).await?;
        is_used_at_once(&format!("{namespace}-later"), case).await
    })
    .await?;
    let alarms = alarms(log)?;
    ensure!(alarms.is_empty(), "{} alarms:\n{}", alarms.len(), alarms.join("\n"));
    ensure!(STACK.operator().id() == process, "the operator was restarted");

    let mark = STACK.mark()?;
    STACK.restart_operator()?;
    for_each_add_on(async |index, case| {
        a_restart_writes_nothing(&spaces[index], &mark).await?;
        comes_back_when_deleted(&spaces[index], case).await
    })
    .await?;
    Ok(())
}

async fn comes_goes_and_comes_back(namespace: &str, case: &Case) -> Result<()> {
    let space = wanting(namespace, case).await?;
    let leaver = wanting(&format!("{namespace}-leaver"), case).await?;
    let neighbour = with(&format!("{namespace}-neighbour"), &json!({})).await?;
    neighbour.ready(NAME).await?;
    let missing = case.is_missed(&space).await?;
    let named = add_ons::of(case.add_on).all(|definition| missing.contains(&definition.name()));
    ensure!(missing.contains(case.object) && named, "{missing}");
    ensure!(neighbour.condition(NAME, "AddOnsAvailable").await.is_err(), "the neighbour wants nothing");
    neighbour.requests_until_rest(&STACK.mark()?).await?;
    let children = space.children(NAME).await?;

    // It is there, later than the platforms.
    let mark = STACK.mark()?;
    case.install().await?;
    case.is_made(&space).await?;
    case.is_made(&leaver).await?;
    space.ready(NAME).await?;

    // It goes while the platforms want it, and Kubernetes takes its objects along.
    case.remove().await?;
    case.is_missed(&space).await?;
    let whole = if case.add_on.is_aside() { "True" } else { "False" };
    stays("what it means for the platform", Duration::from_secs(5), async || {
        let ready = space.condition(NAME, "Ready").await?;
        ensure!(ready["status"] == whole, "{ready}");
        Ok(())
    })
    .await?;

    // A platform can be deleted meanwhile.
    leaver.condition_is(NAME, "AddOnsAvailable", "False", "AddOnMissing", BRIEF).await?;
    leaver.delete("TradingPlatform", NAME, Propagation::Background).await?;
    leaver.gone("TradingPlatform", NAME, SETTLE).await?;

    // It comes back.
    case.install().await?;
    case.is_made(&space).await?;

    // Nobody else noticed, and nothing else changed.
    let noticed = neighbour.requests_since(&mark)?;
    ensure!(noticed.is_empty(), "the neighbour was touched:\n{}", describe(&noticed));
    for ((kind, name), before) in &children {
        let live = space.get(kind, name).await?;
        ensure!(at(&live, "/metadata/uid") == at(before, "/metadata/uid"), "{kind} {name} is another");
    }
    Ok(())
}

/// By a platform that comes later than the add-on, and costs nothing at rest.
async fn is_used_at_once(namespace: &str, case: &Case) -> Result<Space<'static>> {
    let space = wanting(namespace, case).await?;
    case.is_made(&space).await?;
    space.ready(NAME).await?;
    space.requests_until_rest(&STACK.mark()?).await?;
    Ok(space)
}

/// It finds everything as it is, and nothing is said to be missing.
async fn a_restart_writes_nothing(space: &Space<'_>, restart: &Mark) -> Result<()> {
    let after = space.requests_until_rest(restart).await?;
    let writes: Vec<_> = after.into_iter().filter(Entry::is_write).collect();
    ensure!(writes.is_empty(), "a restart wrote:\n{}", describe(&writes));
    Ok(())
}

/// As any kind does.
async fn comes_back_when_deleted(space: &Space<'_>, case: &Case) -> Result<()> {
    let kind = case.kind.to_string();
    let before = space.get(&kind, case.object).await?;
    space.delete(&kind, case.object, Propagation::Background).await?;
    wait_for("it comes back", BRIEF, async || {
        let live = space.get(&kind, case.object).await?;
        ensure!(at(&live, "/metadata/uid") != at(&before, "/metadata/uid"), "it is the old one");
        Ok(())
    })
    .await
}

/// Nothing is made of its kinds: it reads Ingresses and writes Secrets, whose absence is told.
#[tokio::test]
async fn cert_manager_comes_and_goes_and_its_certificates_are_awaited() -> Result<()> {
    const DEFINITION: &str = "certificates.cert-manager.io";
    let _turn = TURN.lock().await;
    let log = STACK.operator().log()?.len();
    let tls = json!({ "clusterIssuer": "letsencrypt" });
    let ingress = json!({ "ingress": { "hosts": [{ "host": "shop.example.com" }], "tls": tls } });
    let space = STACK.space("certificates").await?;
    space.put(&database_secret("a")).await?;
    space.put(&platform(NAME, &ingress)).await?;
    space.ready(NAME).await?;
    let told =
        space.condition_is(NAME, "CertificatesAvailable", "False", "CertificateMissing", SETTLE).await?;
    ensure!(told.contains("letsencrypt") && told.contains("describe certificate shop-tls"), "{told}");
    let made = space.get("Ingress", "shop-ingress").await?;
    let by = at(&made, "/metadata/annotations/cert-manager.io~1cluster-issuer");
    ensure!(by == "letsencrypt", "{by}");
    space.requests_until_rest(&STACK.mark()?).await?;

    let mark = STACK.mark()?;
    STACK.kubectl()?.apply(&add_ons::certificates()?)?;
    STACK.kubectl()?.wait_until_served(DEFINITION)?;
    let issued = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": { "name": "shop-tls" },
        "stringData": { "tls.crt": "certificate", "tls.key": "key" },
    });
    space.put(&issued).await?;
    space.condition_is(NAME, "CertificatesAvailable", "True", "Present", SETTLE).await?;
    STACK.kubectl()?.run(&["delete", "crd", DEFINITION, "--timeout=30s"])?;
    let writes: Vec<_> =
        space.requests_until_rest(&mark).await?.into_iter().filter(Entry::is_write).collect();
    ensure!(writes.len() == 1, "more than the status was written:\n{}", describe(&writes));

    space.delete("Secret", "shop-tls", Propagation::Background).await?;
    space.condition_is(NAME, "CertificatesAvailable", "False", "CertificateMissing", SETTLE).await?;
    let alarms = alarms(log)?;
    ensure!(alarms.is_empty(), "{} alarms:\n{}", alarms.len(), alarms.join("\n"));
    Ok(())
}
