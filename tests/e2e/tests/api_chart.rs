//! The chart, installed by a real helm: what it makes, what stays, and what its ServiceAccount may do.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use trading_api::labels::FINALIZER;
use trading_core::rbac;
use trading_e2e::api::helm::Helm;
use trading_e2e::api::request::Objects;
use trading_e2e::api::{namespace, wait_for_kind};
use trading_testbed::{ControlPlane, Kubectl, Options, documents};

/// Where the release is, and its name.
const SYSTEM: &str = "trading-system";
const RELEASE: &str = "trading-platform-operator";
const CRD: &str = "crd/tradingplatforms.platform.trading";

const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

const CONCURRENCY: usize = 16;

/// For a policy to take effect.
const POLICY: Duration = Duration::from_secs(30);

static CLUSTER: LazyLock<ControlPlane> =
    LazyLock::new(|| ControlPlane::start(Options::api()).expect("a control plane"));

#[test]
fn lint_finds_nothing() -> Result<()> {
    let helm = Helm::new(&CLUSTER)?;
    for values in
        [&[][..], &["--set", "crds.install=false,watchNamespaces={a,b},serviceMonitor.enabled=true"]]
    {
        let said = helm.run(&[&["lint", "--strict", "."], values].concat())?;
        ensure!(said.contains("0 chart(s) failed"), "{said}");
    }
    Ok(())
}

#[test]
fn wrong_values_are_refused_with_the_name_of_the_value() -> Result<()> {
    let helm = Helm::new(&CLUSTER)?;
    for (value, named) in [
        ("replica=3", "replica"),
        ("replicas=two", "replicas"),
        ("replicas=6", "replicas"),
        ("replicas=-1", "replicas"),
        // Two pods without leader election would both write.
        ("leaderElection.enabled=false", "replicas"),
        ("image.repository=", "repository"),
        ("image.tag=a/b", "tag"),
        ("image.digest=sha256:1", "digest"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("log.format=xml", "format"),
        ("log.level=loud", "level"),
        ("watchNamespaces={Prod}", "watchNamespaces"),
        ("watchNamespaces={a,a}", "watchNamespaces"),
        ("crds.instal=true", "crds"),
        ("resources.limits.gpu=1", "limits"),
        ("podDisruptionBudget.maxUnavailable=0", "maxUnavailable"),
        ("networkPolicy.apiServerPorts={0}", "apiServerPorts"),
        ("externalStores.checkedPorts={0}", "checkedPorts"),
        ("podLabels.app\\.kubernetes\\.io/name=x", "podLabels"),
        ("terminationGracePeriodSeconds=0", "terminationGracePeriodSeconds"),
        ("serviceAccount.name=Bad_Name", "name"),
    ] {
        let said = helm.refused(&["template", RELEASE, ".", "--set", value])?;
        ensure!(said.contains(named) && said.contains("schema"), "{value}: {said}");
    }
    Ok(())
}

/// The release goes through its whole life in one test, because the kind is there once for the cluster.
#[tokio::test]
async fn a_release_lives_and_leaves_the_platforms_behind() -> Result<()> {
    let client = CLUSTER.client().await?;
    let (helm, kubectl) = (Helm::new(&CLUSTER)?, CLUSTER.kubectl()?);
    namespace(&client, SYSTEM).await?;
    kubectl.run(&["label", "namespace", SYSTEM, "pod-security.kubernetes.io/enforce=restricted"])?;

    installs_without_the_kind(&helm, &kubectl)?;
    installs(&helm, &kubectl)?;
    its_pod_is_admitted_as_restricted(&client, &kubectl).await?;
    its_rules_are_those_of_the_operator(&kubectl)?;
    its_rights_are_these_and_no_others(&client).await?;
    kubectl_says_the_same(&kubectl)?;

    let platform = r#"{"apiVersion":"platform.trading/v1alpha1","kind":"TradingPlatform",
        "metadata":{"name":"shop","namespace":"default"},
        "spec":{"version":"1.0.0","backend":{"image":{"repository":"shop/backend"}}}}"#;
    namespace(&client, "default").await?;
    kubectl.apply(platform)?;
    its_policy_adds_the_finalizer(&kubectl)?;
    let kept = identities(&kubectl)?;
    upgrades(&helm, &kubectl, &kept)?;
    uninstalls(&helm, &kubectl, &kept)?;
    comes_back(&helm, &kubectl, &kept)?;
    Ok(())
}

fn installs_without_the_kind(helm: &Helm, kubectl: &Kubectl) -> Result<()> {
    let printed = helm.run(&["install", RELEASE, ".", "-n", SYSTEM, "--set", "crds.install=false"])?;
    ensure!(printed.contains("kubectl apply --server-side -f crds/"), "no word about the kinds: {printed}");
    ensure!(kubectl.run(&["get", CRD]).is_err(), "the kind is there all the same");
    ensure!(owned(kubectl)?.contains("deployment.apps/trading-platform-operator"));
    helm.run(&["uninstall", RELEASE, "-n", SYSTEM])?;
    let left = owned(kubectl)?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

fn installs(helm: &Helm, kubectl: &Kubectl) -> Result<()> {
    let printed = helm.run(&["install", RELEASE, ".", "-n", SYSTEM])?;
    ensure!(printed.contains("rollout status deployment/trading-platform-operator"), "{printed}");
    wait_for_kind(kubectl)?;
    let made = owned(kubectl)?;
    let wanted = [
        "clusterrole.rbac.authorization.k8s.io/trading-platform-editor",
        "clusterrole.rbac.authorization.k8s.io/trading-platform-operator-trading-system",
        "clusterrole.rbac.authorization.k8s.io/trading-platform-viewer",
        "clusterrolebinding.rbac.authorization.k8s.io/trading-platform-operator-trading-system",
        "configmap/trading-platform-operator-prices",
        "deployment.apps/trading-platform-operator",
        "mutatingadmissionpolicy.admissionregistration.k8s.io/trading-platform-operator-trading-system-finalizer",
        "mutatingadmissionpolicybinding.admissionregistration.k8s.io/trading-platform-operator-trading-system-finalizer",
        "networkpolicy.networking.k8s.io/trading-platform-operator",
        "poddisruptionbudget.policy/trading-platform-operator",
        "role.rbac.authorization.k8s.io/trading-platform-operator-lease",
        "rolebinding.rbac.authorization.k8s.io/trading-platform-operator-lease",
        "service/trading-platform-operator",
        "serviceaccount/trading-platform-operator",
    ];
    ensure!(made == wanted.map(str::to_owned).into(), "{made:#?}");
    Ok(())
}

/// What a platform has when it has just been made here, without keeping it.
fn finalizers_at_first(kubectl: &Kubectl, namespace: &str, finalizers: &[&str]) -> Result<Vec<String>> {
    let platform = json!({
        "apiVersion": "platform.trading/v1alpha1",
        "kind": "TradingPlatform",
        "metadata": { "name": "trial", "namespace": namespace, "finalizers": finalizers },
        "spec": { "version": "1.0.0", "backend": { "image": { "repository": "shop/backend" } } },
    });
    let args = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
    let made: Value = serde_json::from_str(&kubectl.run_with_input(&args, &platform.to_string())?)?;
    let finalizers = made["metadata"]["finalizers"].as_array().into_iter().flatten();
    Ok(finalizers.filter_map(Value::as_str).map(str::to_owned).collect())
}

/// The apiserver looks for policies from time to time.
fn wait_for_finalizers(kubectl: &Kubectl, namespace: &str, expected: &[&str]) -> Result<()> {
    let began = Instant::now();
    loop {
        let found = finalizers_at_first(kubectl, namespace, &[])?;
        if found == expected {
            return Ok(());
        }
        ensure!(began.elapsed() < POLICY, "in {namespace}: {found:?} instead of {expected:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn its_policy_adds_the_finalizer(kubectl: &Kubectl) -> Result<()> {
    wait_for_finalizers(kubectl, "default", &[FINALIZER])?;
    let others = finalizers_at_first(kubectl, "default", &["example.com/wait"])?;
    ensure!(others == ["example.com/wait", FINALIZER], "{others:?}");
    let once = finalizers_at_first(kubectl, "default", &[FINALIZER])?;
    ensure!(once == [FINALIZER], "{once:?}");
    Ok(())
}

/// What carries the release's label, the kind apart.
fn owned(kubectl: &Kubectl) -> Result<BTreeSet<String>> {
    let kinds = "clusterrole,clusterrolebinding,deployment,networkpolicy,poddisruptionbudget,role,rolebinding,service,\
                 serviceaccount,configmap,mutatingadmissionpolicy,mutatingadmissionpolicybinding";
    let selector = format!("app.kubernetes.io/instance={RELEASE}");
    let names = kubectl.run(&["get", kinds, "-n", SYSTEM, "-l", &selector, "-o", "name"])?;
    Ok(names.lines().map(str::to_owned).collect())
}

/// The controllers that would make the pod are not here, so it is made from the template.
async fn its_pod_is_admitted_as_restricted(client: &Client, kubectl: &Kubectl) -> Result<()> {
    let deployment = json_of(kubectl, &["-n", SYSTEM, "get", "deployment/trading-platform-operator"])?;
    let mut pod = deployment["spec"]["template"].clone();
    pod["metadata"]["name"] = json!("operator");
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let pods = Objects::namespaced(client, "", "v1", SYSTEM, "pods");
    let made = pods.create(&params, &pod).await?;
    ensure!(made.is_ok(), "{made:?}");
    pod["spec"]["containers"][0]["securityContext"] = json!({ "privileged": true });
    ensure!(pods.create(&params, &pod).await?.is_err(), "Pod Security is not at work");
    Ok(())
}

fn its_rules_are_those_of_the_operator(kubectl: &Kubectl) -> Result<()> {
    let role = json_of(kubectl, &["get", "clusterrole/trading-platform-operator-trading-system"])?;
    let rules: Vec<PolicyRule> = serde_json::from_value(role["rules"].clone())?;
    ensure!(
        rules == [rbac::rules(), rbac::cluster_rules()].concat(),
        "run `cargo xtask generate`: {rules:#?}"
    );
    Ok(())
}

/// A right: group, resource with subresource, verb.
type Right = (String, String, String);

/// Every verb on every resource that the apiserver serves, asked one by one.
async fn its_rights_are_these_and_no_others(admin: &Client) -> Result<()> {
    namespace(admin, "elsewhere").await?;
    let kubeconfig = CLUSTER.kubeconfig_for_service_account(SYSTEM, RELEASE)?;
    let operator = CLUSTER.client_for(&kubeconfig).await?;
    let owned: BTreeSet<Right> = rbac::rules().iter().flat_map(rights_of).collect();
    let mut candidates = every_right(admin).await?;
    // Kinds of add-ons are not served here.
    candidates.extend(owned.iter().cloned());
    ensure!(candidates.len() > 500, "only {} rights are asked for", candidates.len());

    // What every authenticated user may: ask who it is and what it may.
    let mut expected: BTreeSet<Right> =
        candidates.iter().filter(|right| is_for_everybody(right)).cloned().collect();
    for rule in rbac::rules() {
        ensure!(rule.resource_names.is_none() && rule.non_resource_urls.is_none(), "{rule:?}");
    }
    expected.extend(owned);
    for rule in rbac::cluster_rules() {
        if rule.resource_names.is_none() {
            expected.extend(rights_of(&rule));
        }
        for (name, right) in rule.resource_names.iter().flatten().zip(rights_of(&rule).iter().cycle()) {
            ensure!(allowed(&operator, "", right, Some(name)).await?, "{right:?} on {name}");
        }
    }
    for space in ["elsewhere", SYSTEM] {
        expect_rights(&operator, space, &candidates, &expected).await?;
    }
    // Leases of databases may be in every namespace; its own it may update too.
    for verb in VERBS {
        let lease = ("coordination.k8s.io".to_owned(), "leases".to_owned(), verb.to_owned());
        let of_databases = expected.contains(&lease);
        let may = allowed(&operator, SYSTEM, &lease, Some(RELEASE)).await?;
        ensure!(may == (of_databases || verb == "update"), "{verb} on its own Lease: {may}");
        let may = allowed(&operator, "kube-system", &lease, Some(RELEASE)).await?;
        ensure!(may == of_databases, "{verb} on a Lease elsewhere: {may}");
    }
    Ok(())
}

fn rights_of(rule: &PolicyRule) -> Vec<Right> {
    let groups = rule.api_groups.iter().flatten();
    groups
        .flat_map(|group| rule.resources.iter().flatten().map(move |resource| (group, resource)))
        .flat_map(|(group, resource)| {
            rule.verbs.iter().map(move |verb| (group.clone(), resource.clone(), verb.clone()))
        })
        .collect()
}

fn is_for_everybody((group, resource, verb): &Right) -> bool {
    let asks = ["selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"];
    group.ends_with(".k8s.io") && asks.contains(&resource.as_str()) && verb == "create"
}

async fn every_right(client: &Client) -> Result<BTreeSet<Right>> {
    let mut lists = vec![(String::new(), client.list_core_api_resources("v1").await?)];
    for group in client.list_api_groups().await?.groups {
        for version in &group.versions {
            lists.push((group.name.clone(), client.list_api_group_resources(&version.group_version).await?));
        }
    }
    let mut rights = BTreeSet::new();
    for (group, list) in lists {
        for resource in list.resources {
            rights.extend(VERBS.map(|verb| (group.clone(), resource.name.clone(), verb.to_owned())));
        }
    }
    // Discovery does not list these: they are verbs and resources of the authorizer alone.
    for (group, resource, verb) in [
        // Served to nobody, only asked for where `blockOwnerDeletion` is set.
        ("platform.trading", "tradingplatforms/finalizers", "update"),
        ("", "users", "impersonate"),
        ("", "groups", "impersonate"),
        ("", "serviceaccounts", "impersonate"),
        ("rbac.authorization.k8s.io", "roles", "escalate"),
        ("rbac.authorization.k8s.io", "clusterroles", "bind"),
        ("*", "*", "*"),
    ] {
        rights.insert((group.to_owned(), resource.to_owned(), verb.to_owned()));
    }
    Ok(rights)
}

async fn expect_rights(
    client: &Client,
    space: &str,
    candidates: &BTreeSet<Right>,
    expected: &BTreeSet<Right>,
) -> Result<()> {
    let granted: Vec<Option<Right>> =
        stream::iter(candidates)
            .map(|right| async move {
                anyhow::Ok(allowed(client, space, right, None).await?.then(|| right.clone()))
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
    let granted: BTreeSet<Right> = granted.into_iter().flatten().collect();
    let surplus: Vec<_> = granted.difference(expected).collect();
    let missing: Vec<_> = expected.difference(&granted).collect();
    ensure!(
        surplus.is_empty() && missing.is_empty(),
        "in {space}: too many {surplus:?}, too few {missing:?}"
    );
    eprintln!("{space}: {} of {} rights", granted.len(), candidates.len());
    Ok(())
}

/// What `kubectl auth can-i` asks.
async fn allowed(client: &Client, space: &str, right: &Right, name: Option<&str>) -> Result<bool> {
    let (group, resource, verb) = right;
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let attributes = ResourceAttributes {
        group: Some(group.clone()),
        resource: Some(resource.to_owned()),
        subresource: Some(subresource.to_owned()),
        verb: Some(verb.clone()),
        namespace: Some(space.to_owned()),
        name: name.map(str::to_owned),
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer =
        Api::<SelfSubjectAccessReview>::all(client.clone()).create(&PostParams::default(), &review).await?;
    Ok(answer.status.context("no answer")?.allowed)
}

/// The same question as a person asks it.
fn kubectl_says_the_same(kubectl: &Kubectl) -> Result<()> {
    let kubeconfig = CLUSTER.kubeconfig_for_service_account(SYSTEM, RELEASE)?;
    let operator = kubectl.clone().with_kubeconfig(&kubeconfig);
    for (wanted, question) in [
        ("yes", &["patch", "deployments.apps", "-n", "elsewhere"][..]),
        ("yes", &["update", "leases/trading-platform-operator", "-n", SYSTEM]),
        // Servers of stores are replaced.
        ("yes", &["create", "pods", "--subresource=eviction", "-n", "elsewhere"]),
        ("no", &["create", "pods", "-n", "elsewhere"]),
        ("no", &["create", "pods", "--subresource=exec", "-n", "elsewhere"]),
        ("no", &["list", "nodes"]),
        ("no", &["get", "clusterroles"]),
        // It makes Roles for databases, and can give away nothing but what it has.
        ("yes", &["create", "rolebindings", "-n", "elsewhere"]),
        ("no", &["escalate", "roles", "-n", "elsewhere"]),
        ("no", &["bind", "roles", "-n", "elsewhere"]),
        ("no", &["create", "clusterrolebindings"]),
        ("no", &["update", "leases", "-n", "kube-system"]),
        ("no", &["create", "serviceaccounts", "--subresource=token", "-n", SYSTEM]),
        ("no", &["delete", "tradingplatforms", "-n", "elsewhere"]),
        ("no", &["delete", "namespaces"]),
    ] {
        // It exits with 1 where the answer is no.
        let output = operator.command(&[&["auth", "can-i"], question].concat()).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(said.trim() == wanted, "{question:?}: {said}");
    }
    Ok(())
}

/// UIDs of the kind and of the platform: what must live through everything.
fn identities(kubectl: &Kubectl) -> Result<[String; 2]> {
    let uid = "jsonpath={.metadata.uid}";
    Ok([
        kubectl.run(&["get", CRD, "-o", uid])?,
        kubectl.run(&["-n", "default", "get", "tradingplatform/shop", "-o", uid])?,
    ])
}

fn upgrades(helm: &Helm, kubectl: &Kubectl, kept: &[String; 2]) -> Result<()> {
    helm.run(&["upgrade", RELEASE, ".", "-n", SYSTEM, "--set", "replicas=1,log.level=debug"])?;
    let deployment = json_of(kubectl, &["-n", SYSTEM, "get", "deployment/trading-platform-operator"])?;
    let args = deployment.pointer("/spec/template/spec/containers/0/args").context("no arguments")?;
    ensure!(args.as_array().is_some_and(|args| args.contains(&json!("--log-level=debug"))), "{args}");
    ensure!(
        !owned(kubectl)?.iter().any(|name| name.starts_with("poddisruptionbudget")),
        "a budget for one pod"
    );
    ensure!(identities(kubectl)? == *kept, "an upgrade replaced the kind or the platform");

    // Whoever lets go of the kinds must not lose the platforms.
    helm.run(&["upgrade", RELEASE, ".", "-n", SYSTEM, "--set", "crds.install=false"])?;
    ensure!(identities(kubectl)? == *kept, "crds.install=false removed the kind");
    helm.run(&["upgrade", RELEASE, ".", "-n", SYSTEM])?;
    ensure!(identities(kubectl)? == *kept, "crds.install=true replaced the kind");

    scopes_to_namespaces(helm, kubectl)
}

/// Roles instead of a `ClusterRole`, and no rights elsewhere.
fn scopes_to_namespaces(helm: &Helm, kubectl: &Kubectl) -> Result<()> {
    helm.run(&["upgrade", RELEASE, ".", "-n", SYSTEM, "--set", "watchNamespaces={default}"])?;
    let role = json_of(kubectl, &["-n", "default", "get", "role/trading-platform-operator-trading-system"])?;
    let rules: Vec<PolicyRule> = serde_json::from_value(role["rules"].clone())?;
    ensure!(rules == rbac::rules(), "{rules:#?}");
    ensure!(
        kubectl.run(&["get", "clusterrole/trading-platform-operator-trading-system"]).is_err(),
        "still there"
    );
    let kubeconfig = CLUSTER.kubeconfig_for_service_account(SYSTEM, RELEASE)?;
    let operator = kubectl.clone().with_kubeconfig(&kubeconfig);
    operator.run(&["-n", "default", "get", "tradingplatforms,secrets"])?;
    ensure!(operator.run(&["-n", "elsewhere", "get", "secrets"]).is_err(), "it reads Secrets elsewhere");
    // Nobody would take the finalizer off there.
    wait_for_finalizers(kubectl, "elsewhere", &[])?;
    wait_for_finalizers(kubectl, "default", &[FINALIZER])?;
    helm.run(&["upgrade", RELEASE, ".", "-n", SYSTEM])?;
    Ok(())
}

fn uninstalls(helm: &Helm, kubectl: &Kubectl, kept: &[String; 2]) -> Result<()> {
    helm.run(&["uninstall", RELEASE, "-n", SYSTEM])?;
    let left = owned(kubectl)?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    ensure!(identities(kubectl)? == *kept, "the kind or the platform went with the release");
    wait_for_finalizers(kubectl, "default", &[])?;
    Ok(())
}

/// The kinds that an earlier release left are taken up again; another release has to say that it wants them.
fn comes_back(helm: &Helm, kubectl: &Kubectl, kept: &[String; 2]) -> Result<()> {
    helm.run(&["install", RELEASE, ".", "-n", SYSTEM])?;
    ensure!(identities(kubectl)? == *kept);
    helm.run(&["uninstall", RELEASE, "-n", SYSTEM])?;

    let other = ["install", "other", ".", "-n", SYSTEM];
    let said = helm.refused(&other)?;
    ensure!(said.contains("tradingplatforms.platform.trading"), "{said}");
    helm.run(&[&other[..], &["--take-ownership"]].concat())?;
    ensure!(identities(kubectl)? == *kept);
    helm.run(&["uninstall", "other", "-n", SYSTEM])?;
    ensure!(identities(kubectl)? == *kept);
    Ok(())
}

fn json_of(kubectl: &Kubectl, args: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&kubectl.run(&[args, &["-o", "json"]].concat())?)?)
}

/// What `helm template` prints can be applied without helm: names are in order, nothing is there twice.
#[test]
fn rendered_manifests_are_complete_and_unique() -> Result<()> {
    let helm = Helm::new(&CLUSTER)?;
    for values in [
        "replicas=2",
        "watchNamespaces={a,b}",
        "crds.install=false",
        "leaderElection.enabled=false,replicas=1",
    ] {
        let rendered = documents(&helm.run(&["template", RELEASE, ".", "-n", SYSTEM, "--set", values])?)?;
        let mut seen = BTreeSet::new();
        for object in &rendered {
            let key = ["/kind", "/metadata/namespace", "/metadata/name"]
                .map(|at| object.pointer(at).and_then(Value::as_str).unwrap_or_default());
            ensure!(!key[0].is_empty() && !key[2].is_empty() && seen.insert(key), "{values}: {key:?}");
        }
        let has_kind = rendered.iter().any(|object| object["kind"] == "CustomResourceDefinition");
        ensure!(has_kind != values.contains("crds.install=false"), "{values}");
    }
    Ok(())
}

/// The copy of the kind in the chart is the kind, so that what helm installs is what the tests tested.
#[test]
fn the_charts_copy_of_the_kind_is_current() -> Result<()> {
    let helm = Helm::new(&CLUSTER)?;
    let rendered = documents(&helm.run(&["template", RELEASE, "."])?)?;
    let definition = rendered
        .into_iter()
        .find(|object| object["kind"] == "CustomResourceDefinition")
        .context("the chart brings no kind")?;
    let ours = serde_json::to_value(trading_api::schema::crd())?;
    ensure!(definition["spec"]["versions"][0]["schema"].is_object(), "no schema");
    let normal = |value: &Value| -> Result<Value> {
        let spec: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionSpec =
            serde_json::from_value(value["spec"].clone())?;
        Ok(serde_json::to_value(spec)?)
    };
    ensure!(normal(&definition)? == normal(&ours)?, "run `cargo xtask generate`");
    Ok(())
}
