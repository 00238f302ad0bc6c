//! One Lease behind HTTP, as the Kubernetes API keeps it: a write that names an old version is
//! refused. Each server has a way to it of its own, which can be cut.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::sleep;

#[derive(Default)]
struct Kept {
    lease: Value,
    version: u64,
    cut: BTreeSet<String>,
}

/// The API.
#[derive(Clone)]
pub struct Api {
    kept: Arc<Mutex<Kept>>,
    address: SocketAddr,
}

type Way = Path<(String, String)>;

impl Api {
    pub async fn start() -> Self {
        let kept = Arc::new(Mutex::new(Kept { version: 1, ..Kept::default() }));
        let path = "/{server}/apis/coordination.k8s.io/v1/namespaces/ns/leases/{lease}";
        let router = Router::new().route(path, get(read).patch(write)).with_state(kept.clone());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { kept, address }
    }

    /// What a server's kubeconfig says.
    pub fn kubeconfig(&self, server: &str) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": format!("http://{}/{server}", self.address)}}],
            "users": [{"name": "test", "user": {}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "ns"}}],
        })
        .to_string()
    }

    pub fn cut(&self, server: &str, is_cut: bool) {
        let mut kept = self.kept.lock().expect("not poisoned");
        if is_cut {
            kept.cut.insert(server.to_owned());
        } else {
            kept.cut.remove(server);
        }
    }

    /// Somebody deletes the Lease, and the operator makes it anew.
    pub fn lose(&self) {
        let mut kept = self.kept.lock().expect("not poisoned");
        kept.lease = Value::Null;
        kept.version += 1;
    }

    pub fn lease(&self) -> String {
        self.kept.lock().expect("not poisoned").lease.to_string()
    }
}

async fn unless_cut(kept: &Mutex<Kept>, server: &str) {
    let is_cut = kept.lock().expect("not poisoned").cut.contains(server);
    if is_cut {
        sleep(Duration::from_mins(2)).await;
    }
}

fn shown(kept: &Kept) -> Value {
    let mut lease = kept.lease.clone();
    if lease.is_null() {
        lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {}});
    }
    lease["metadata"]["name"] = json!("shop-postgres");
    lease["metadata"]["namespace"] = json!("ns");
    lease["metadata"]["resourceVersion"] = json!(kept.version.to_string());
    lease
}

async fn read(State(kept): State<Arc<Mutex<Kept>>>, Path((server, _)): Way) -> Json<Value> {
    unless_cut(&kept, &server).await;
    Json(shown(&kept.lock().expect("not poisoned")))
}

async fn write(
    State(kept): State<Arc<Mutex<Kept>>>,
    Path((server, _)): Way,
    Json(patch): Json<Value>,
) -> (StatusCode, Json<Value>) {
    unless_cut(&kept, &server).await;
    let mut kept = kept.lock().expect("not poisoned");
    if patch["metadata"]["resourceVersion"] != json!(kept.version.to_string()) {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "reason": "Conflict", "code": 409, "message": "the object has been modified",
        });
        return (StatusCode::CONFLICT, Json(status));
    }
    let mut lease = shown(&kept);
    json_patch::merge(&mut lease, &patch);
    kept.lease = lease;
    kept.version += 1;
    (StatusCode::OK, Json(shown(&kept)))
}
