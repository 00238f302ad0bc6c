//! A fresh control plane for one measurement: etcd and the apiserver alone, so that the operator is
//! measured and not Kubernetes' own controllers.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::json;
use trading_api::TradingPlatform;
use trading_core::finalizer_policy;
use trading_testbed::audit::{self, Entry};
use trading_testbed::{ControlPlane, Options};

use super::bare;
use super::subject::Subject;

/// The operator's namespace.
pub const NAMESPACE: &str = "trading-system";

const ROLE: &str = "trading-operator";
const POLICY: &str = "trading-operator-finalizer";

/// More at once makes a small apiserver slower.
pub const CONCURRENCY: usize = 8;

/// Who is measured. Both are service accounts with the rights of the chart, so that the apiserver spends
/// as much on one's requests as on the other's.
#[derive(Clone, Copy)]
pub enum Account {
    Operator,
    Bare,
}

impl Account {
    fn name(self) -> &'static str {
        match self {
            Self::Operator => "trading-operator",
            Self::Bare => "bare-client",
        }
    }

    /// As the audit log calls it.
    pub fn user(self) -> String {
        format!("system:serviceaccount:{NAMESPACE}:{}", self.name())
    }
}

/// The control plane, with the kind installed and a namespace with its Secret for each platform.
pub struct Plane {
    control_plane: ControlPlane,
    admin: Client,
}

impl Plane {
    /// Starts and prepares it.
    pub async fn start(subject: &Subject, platforms: usize) -> Result<Self> {
        let control_plane = ControlPlane::start(Options::api().with_audit())?;
        let admin = control_plane.client().await?;
        let plane = Self { control_plane, admin };
        plane.install().await?;
        let namespaces = (0..platforms).map(namespace).chain([bare::WARM_UP.to_owned()]);
        stream::iter(namespaces.map(Ok))
            .try_for_each_concurrent(CONCURRENCY, |name| plane.add_namespace(subject, name))
            .await?;
        bare::warm_up(&plane, subject).await?;
        Ok(plane)
    }

    async fn install(&self) -> Result<()> {
        self.create_all(vec![trading_api::schema::crd()]).await?;
        self.create_all(vec![read::<Namespace>(json!({ "metadata": { "name": NAMESPACE } }))?]).await?;
        let accounts = [Account::Operator, Account::Bare].map(Account::name);
        for name in accounts {
            let account: ServiceAccount = read(json!({ "metadata": { "name": name } }))?;
            Api::namespaced(self.admin.clone(), NAMESPACE).create(&PostParams::default(), &account).await?;
        }
        let mut role: ClusterRole = read(json!({ "metadata": { "name": ROLE } }))?;
        let lease: PolicyRule = read(json!({
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "verbs": ["create", "get", "patch", "update"],
        }))?;
        let rules = trading_core::rbac::rules().into_iter().chain(trading_core::rbac::cluster_rules());
        role.rules = Some(rules.chain([lease]).collect());
        self.create_all(vec![role]).await?;
        let subjects =
            accounts.map(|name| json!({ "kind": "ServiceAccount", "name": name, "namespace": NAMESPACE }));
        self.create_all(vec![read::<ClusterRoleBinding>(json!({
            "metadata": { "name": ROLE },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ROLE },
            "subjects": subjects,
        }))?])
        .await?;
        self.kind_is_served().await?;
        self.add_policy().await
    }

    /// The chart's policy, which acts from the first platform on (`try_platform`).
    async fn add_policy(&self) -> Result<()> {
        let metadata = json!({ "name": POLICY });
        let objects = [
            ("MutatingAdmissionPolicy", "mutatingadmissionpolicies", finalizer_policy::spec()),
            (
                "MutatingAdmissionPolicyBinding",
                "mutatingadmissionpolicybindings",
                json!({ "policyName": POLICY }),
            ),
        ];
        for (kind, plural, spec) in objects {
            let gvk = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
            let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
            let object: DynamicObject = read(json!({ "metadata": metadata, "spec": spec }))?;
            let api: Api<DynamicObject> = Api::all_with(self.admin.clone(), &resource);
            api.create(&PostParams::default(), &object).await?;
        }
        Ok(())
    }

    async fn kind_is_served(&self) -> Result<()> {
        for _ in 0..100 {
            let platforms: Api<TradingPlatform> = Api::all(self.admin.clone());
            if platforms.list_metadata(&ListParams::default().limit(1)).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let name = "tradingplatforms.platform.trading";
        let kind = Api::<CustomResourceDefinition>::all(self.admin.clone()).get(name).await?;
        bail!("the apiserver does not serve the kind: {:?}", kind.status)
    }

    async fn create_all<K>(&self, objects: Vec<K>) -> Result<()>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + serde::Serialize,
    {
        let api: Api<K> = Api::all(self.admin.clone());
        for object in objects {
            api.create(&PostParams::default(), &object).await?;
        }
        Ok(())
    }

    async fn add_namespace(&self, subject: &Subject, name: String) -> Result<()> {
        self.create_all(vec![read::<Namespace>(json!({ "metadata": { "name": name } }))?]).await?;
        let secrets: Api<Secret> = Api::namespaced(self.admin.clone(), &name);
        secrets.create(&PostParams::default(), &subject.secret(&name)).await?;
        Ok(())
    }

    /// Creates a platform in every namespace, as fast as the apiserver takes them.
    pub async fn create_platforms(&self, subject: &Subject, platforms: usize) -> Result<()> {
        stream::iter((0..platforms).map(namespace))
            .map(|namespace| async move {
                let api: Api<TradingPlatform> = Api::namespaced(self.admin.clone(), &namespace);
                api.create(&PostParams::default(), &subject.platform(&namespace)).await
            })
            .buffer_unordered(CONCURRENCY)
            .try_for_each(|_| async { Ok(()) })
            .await?;
        Ok(())
    }

    /// Creates a platform without keeping it, until the policy acts: the apiserver compiles a kind's rules
    /// the first time and looks for new policies from time to time.
    pub async fn try_platform(&self, subject: &Subject, namespace: &str) -> Result<()> {
        let api: Api<TradingPlatform> = Api::namespaced(self.admin.clone(), namespace);
        let params = PostParams { dry_run: true, ..PostParams::default() };
        for _ in 0..100 {
            let made = Box::pin(api.create(&params, &subject.platform(namespace))).await?.metadata;
            if made.finalizers.is_some() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("the policy {POLICY} adds no finalizer")
    }

    /// Changes one field of one component of the first platform.
    pub async fn edit(&self, subject: &Subject) -> Result<()> {
        let namespace = namespace(0);
        let api: Api<TradingPlatform> = Api::namespaced(self.admin.clone(), &namespace);
        let name = subject.platform(&namespace).metadata.name.context("a platform without a name")?;
        let change = json!({ "spec": { "backend": { "resources": { "limits": { "cpu": "3" } } } } });
        api.patch(&name, &PatchParams::default(), &Patch::Merge(&change)).await?;
        Ok(())
    }

    /// A kubeconfig of one who is measured.
    pub fn kubeconfig(&self, account: Account) -> Result<PathBuf> {
        self.control_plane.kubeconfig_for_service_account(NAMESPACE, account.name())
    }

    /// A client of one who is measured.
    pub async fn client(&self, account: Account) -> Result<Client> {
        self.control_plane.client_for(&self.kubeconfig(account)?).await
    }

    /// How many changes the store has seen.
    pub async fn revision(&self) -> Result<u64> {
        let namespaces: Api<Namespace> = Api::all(self.admin.clone());
        let list = namespaces.list_metadata(&ListParams::default().limit(1)).await?;
        Ok(list.metadata.resource_version.context("a list without version")?.parse()?)
    }

    /// Where the audit log is.
    pub fn audit_log(&self) -> PathBuf {
        self.control_plane.audit_log()
    }

    /// Where a log may be written.
    pub fn file(&self, name: &str) -> PathBuf {
        self.control_plane.dir().join(name)
    }

    /// All requests since then.
    pub fn requests(&self, since: Timestamp) -> Result<Vec<Entry>> {
        let mut entries = audit::read(&self.audit_log())?;
        entries.retain(|entry| entry.received >= since);
        Ok(entries)
    }
}

/// Where a platform lives: each has a namespace of its own.
pub fn namespace(number: usize) -> String {
    format!("platform-{number}")
}

fn read<T: DeserializeOwned>(object: serde_json::Value) -> Result<T> {
    Ok(serde_json::from_value(object)?)
}
