//! The three metrics APIs that autoscalers ask (resource, custom, external), with a test's own numbers. They
//! are served behind the apiserver's aggregation layer, as metrics-server and prometheus-adapter are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::routing::get;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use trading_api::{Quantity, labels};
use trading_testbed::Aggregated;

use super::stack::Stack;
use super::values::{at, text};
use super::wait::{SETTLE, wait_for};

/// Group, version and resources of each API.
const APIS: [(&str, &str, &str); 3] = [
    ("metrics.k8s.io", "v1beta1", "pods"),
    ("custom.metrics.k8s.io", "v1beta2", "pods/*"),
    ("external.metrics.k8s.io", "v1beta1", "*"),
];

/// Serves until it is dropped. The runtime needs several threads: kubectl waits for the apiserver, and the
/// apiserver for this.
#[derive(Debug)]
pub struct Metrics {
    numbers: Arc<Mutex<Numbers>>,
    task: JoinHandle<()>,
}

/// What is measured now. Whatever has no number is not served.
#[derive(Debug, Default)]
pub struct Numbers {
    /// By namespace, component and resource: what each pod uses, percent of what it requests.
    pub used: BTreeMap<(String, String, String), f64>,
    /// By namespace, component and metric: of each pod.
    pub pods: BTreeMap<(String, String, String), f64>,
    /// By namespace and metric.
    pub external: BTreeMap<(String, String), f64>,
}

#[derive(Clone)]
struct Server {
    client: Client,
    numbers: Arc<Mutex<Numbers>>,
}

type Body = ([(HeaderName, &'static str); 1], String);
type Answer = Result<Body, (StatusCode, String)>;

impl Metrics {
    /// Begins to serve, and waits until the apiserver passes requests on.
    pub async fn start(stack: &Stack) -> Result<Self> {
        let client = stack.cluster().client().await?;
        let identity = stack.cluster().aggregated();
        let tcp = TcpListener::bind("127.0.0.1:0").await?;
        let port = tcp.local_addr()?.port();
        let numbers = Arc::<Mutex<Numbers>>::default();
        let router = router(Server { client: client.clone(), numbers: Arc::clone(&numbers) });
        let listener = Listener { tcp, tls: acceptor(identity)? };
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("the metrics APIs are no longer served: {error}");
            }
        });
        let metrics = Self { numbers, task };
        register(&client, identity, port).await?;
        Ok(metrics)
    }

    /// The numbers, to be changed. The guard must not be held while something is awaited.
    pub fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Makes the Service by which the apiserver finds this process, and the APIs behind it.
async fn register(client: &Client, identity: Aggregated<'_>, port: u16) -> Result<()> {
    let core = ApiResource {
        group: String::new(),
        version: "v1".to_owned(),
        api_version: "v1".to_owned(),
        kind: "Service".to_owned(),
        plural: "services".to_owned(),
    };
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": identity.service },
        // Endpoints may not be on loopback, a name may.
        "spec": { "type": "ExternalName", "externalName": "localhost" },
    });
    let params = PatchParams::apply("testbed").force();
    let services = Api::<DynamicObject>::namespaced_with(client.clone(), "kube-system", &core);
    services.patch(identity.service, &params, &Patch::Apply(&service)).await?;

    let registration = ApiResource {
        group: "apiregistration.k8s.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "apiregistration.k8s.io/v1".to_owned(),
        kind: "APIService".to_owned(),
        plural: "apiservices".to_owned(),
    };
    let apis = Api::<DynamicObject>::all_with(client.clone(), &registration);
    let authority = ByteString(std::fs::read(identity.authority)?);
    for (group, version, _) in APIS {
        let name = format!("{version}.{group}");
        let api = json!({
            "apiVersion": registration.api_version,
            "kind": registration.kind,
            "metadata": { "name": name },
            "spec": {
                "group": group,
                "version": version,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "caBundle": authority,
                "service": { "namespace": "kube-system", "name": identity.service, "port": port },
            },
        });
        apis.patch(&name, &params, &Patch::Apply(&api)).await?;
    }
    for (group, version, _) in APIS {
        wait_for(&format!("{group} is served"), SETTLE, async || {
            let live = serde_json::to_value(apis.get(&format!("{version}.{group}")).await?)?;
            let conditions = at(&live, "/status/conditions").as_array();
            let available = conditions.into_iter().flatten().find(|one| one["type"] == "Available");
            ensure!(available.is_some_and(|one| one["status"] == "True"), "{available:?}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// A connection at a time is greeted; few come.
struct Listener {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl axum::serve::Listener for Listener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.tcp.accept().await else { continue };
            // Whoever breaks off tries again.
            if let Ok(stream) = self.tls.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

fn acceptor(identity: Aggregated<'_>) -> Result<TlsAcceptor> {
    let certificates = CertificateDer::pem_file_iter(identity.certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(identity.key)?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn router(server: Server) -> Router {
    Router::new()
        .route("/apis/{group}/{version}", get(resources))
        .route("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods", get(used))
        .route(
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/{namespace}/pods/{name}/{metric}",
            get(of_pods),
        )
        .route("/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{metric}", get(external))
        .with_state(server)
}

async fn resources(Path((group, version)): Path<(String, String)>) -> Answer {
    let api = APIS.iter().find(|(known, of, _)| *known == group && *of == version);
    let (_, _, resource) = api.ok_or((StatusCode::NOT_FOUND, format!("no {group}/{version}")))?;
    Ok(body(&json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": format!("{group}/{version}"),
        "resources": [
            { "name": resource, "singularName": "", "namespaced": true, "kind": "MetricValueList", "verbs": ["get"] },
        ],
    })))
}

async fn used(
    State(server): State<Server>,
    Path(namespace): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let pods = server.pods(&namespace, query.as_deref()).await.map_err(failed)?;
    let items: Vec<Value> = pods
        .iter()
        .map(|pod| {
            let containers = at(pod, "/spec/containers").as_array().into_iter().flatten();
            let containers: Vec<Value> =
                containers.map(|container| server.usage(&namespace, pod, container)).collect();
            json!({
                "metadata": { "name": text(pod, "/metadata/name"), "namespace": namespace },
                "timestamp": Timestamp::now(),
                "window": "1s",
                "containers": containers,
            })
        })
        .collect();
    Ok(list("metrics.k8s.io/v1beta1", "PodMetricsList", &items))
}

async fn of_pods(
    State(server): State<Server>,
    Path((namespace, _, metric)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
) -> Answer {
    let pods = server.pods(&namespace, query.as_deref()).await.map_err(failed)?;
    let numbers = server.numbers();
    let mut items = Vec::new();
    for pod in &pods {
        let key = (namespace.clone(), component(pod), metric.clone());
        let number = numbers.pods.get(&key).ok_or_else(|| unknown(&metric))?;
        items.push(json!({
            "describedObject": {
                "kind": "Pod",
                "apiVersion": "v1",
                "namespace": namespace,
                "name": text(pod, "/metadata/name"),
            },
            "metric": { "name": metric },
            "timestamp": Timestamp::now(),
            "value": milli(*number),
        }));
    }
    Ok(list("custom.metrics.k8s.io/v1beta2", "MetricValueList", &items))
}

async fn external(State(server): State<Server>, Path((namespace, metric)): Path<(String, String)>) -> Answer {
    let numbers = server.numbers();
    let number = numbers.external.get(&(namespace, metric.clone())).ok_or_else(|| unknown(&metric))?;
    let item = json!({
        "metricName": metric,
        "metricLabels": {},
        "timestamp": Timestamp::now(),
        "value": milli(*number),
    });
    Ok(list("external.metrics.k8s.io/v1beta1", "ExternalMetricValueList", &[item]))
}

impl Server {
    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pods that a request is about.
    async fn pods(&self, namespace: &str, query: Option<&str>) -> Result<Vec<Value>> {
        let mut fields = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let labels =
            fields.find(|(name, _)| name == "labelSelector").map(|(_, value)| value).unwrap_or_default();
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let pods = api.list(&ListParams::default().labels(&labels)).await?;
        pods.items.iter().map(|pod| serde_json::to_value(pod).context("not a pod")).collect()
    }

    /// What a container uses: of each resource that has a number, its part of what is requested.
    fn usage(&self, namespace: &str, pod: &Value, container: &Value) -> Value {
        let numbers = self.numbers();
        let requests = at(container, "/resources/requests").as_object().into_iter().flatten();
        let usage: BTreeMap<&String, String> = requests
            .filter_map(|(resource, amount)| {
                let key = (namespace.to_owned(), component(pod), resource.clone());
                let requested = Quantity(amount.as_str()?.to_owned()).value()?;
                Some((resource, milli(requested * numbers.used.get(&key)? / 100.0)))
            })
            .collect();
        json!({ "name": text(container, "/name"), "usage": usage })
    }
}

fn component(pod: &Value) -> String {
    at(pod, "/metadata/labels")[labels::NAME].as_str().unwrap_or_default().to_owned()
}

/// As a quantity.
fn milli(number: f64) -> String {
    format!("{:.0}m", number * 1000.0)
}

fn list(api_version: &str, kind: &str, items: &[Value]) -> Body {
    body(&json!({ "apiVersion": api_version, "kind": kind, "metadata": {}, "items": items }))
}

fn body(value: &Value) -> Body {
    ([(CONTENT_TYPE, "application/json")], value.to_string())
}

fn unknown(metric: &str) -> (StatusCode, String) {
    (StatusCode::NOT_FOUND, format!("nobody measures {metric}"))
}

#[allow(clippy::needless_pass_by_value)] // by `map_err`
fn failed(error: anyhow::Error) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}"))
}
