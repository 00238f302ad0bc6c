//! `status`, against an apiserver that is only pretended.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use serde_json::{Value, json};

use crate::support::{Done, file, plugin};

/// An apiserver that answers requests by their path.
struct Cluster {
    kubeconfig: PathBuf,
}

impl Cluster {
    fn answering(answer: impl Fn(&str) -> (u16, Value) + Send + 'static) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                // The client may be gone already.
                serve(&stream.unwrap(), &answer).ok();
            }
        });
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{address}")}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "prod"}}],
            "users": [{"name": "u", "user": {}}],
            "current-context": "c",
        });
        let name = format!("kubeconfig-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        Self { kubeconfig: file(&name, &kubeconfig.to_string()) }
    }

    /// The same, of platforms without pods.
    fn without_pods(answer: impl Fn(&str) -> (u16, Value) + Send + 'static) -> Self {
        let none = json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": []});
        Self::answering(move |path| if path.starts_with(PODS) { (200, none.clone()) } else { answer(path) })
    }

    fn status(&self, arguments: &[&str]) -> Done {
        let mut command = plugin(&["status"]);
        command.args(arguments).env("KUBECONFIG", &self.kubeconfig).output().unwrap().into()
    }
}

fn serve(mut stream: &TcpStream, answer: &impl Fn(&str) -> (u16, Value)) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap()?;
    while !lines.next().unwrap()?.is_empty() {}
    let (code, body) = answer(first.split(' ').nth(1).unwrap());
    let body = body.to_string();
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {code} .\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

fn platform(ready: &str) -> Value {
    json!({
        "apiVersion": "platform.trading/v1alpha1",
        "kind": "TradingPlatform",
        "metadata": {"name": "shop", "namespace": "prod", "generation": 1},
        "spec": {"version": "2.0.0"},
        "status": {"observedGeneration": 1, "conditions": [{
            "type": "Ready", "status": ready, "reason": "Because", "message": "of this",
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        }]},
    })
}

fn not_found() -> (u16, Value) {
    (
        404,
        json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404, "message": "not found"}),
    )
}

/// One that is ready, and one that finds no node.
fn pods() -> Value {
    let pod = |name: &str, condition: Value| json!({"metadata": {"name": name}, "status": {"conditions": [condition]}});
    json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [
        pod("shop-redis-1", json!({"type": "Ready", "status": "True"})),
        pod("shop-redis-2", json!({"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"})),
    ]})
}

const PODS: &str = "/api/v1/namespaces/prod/pods";
const PLATFORMS: &str = "/apis/platform.trading/v1alpha1/namespaces/prod/tradingplatforms";

#[test]
fn a_ready_platform_exits_with_0_and_another_with_3() {
    let found = |ready: &'static str| {
        let cluster = Cluster::answering(move |path| {
            if let Some(selector) = path.strip_prefix(PODS) {
                let wanted = ("False", "?&labelSelector=app.kubernetes.io%2Finstance%3Dshop");
                assert_eq!((ready, selector), wanted);
                return (200, pods());
            }
            assert_eq!(path, format!("{PLATFORMS}/shop"));
            (200, platform(ready))
        });
        let done = cluster.status(&["shop"]);
        assert_eq!(done.err, "");
        (done.code, done.out)
    };
    let header = "shop  namespace prod, version 2.0.0\n";
    assert_eq!(
        found("True"),
        (0, format!("{header}✔ Ready (Because) since 2026-01-02T03:04:05Z: of this\n"))
    );
    assert_eq!(
        found("False"),
        (
            3,
            format!(
                "{header}◐ Not ready (Because) since 2026-01-02T03:04:05Z: of this\n└─ pods that are not ready\n   └─ shop-redis-2  finds no node: 0/3 nodes are available\n"
            )
        )
    );
}

#[test]
fn an_absent_platform_comes_with_those_that_are_there() {
    let cluster = Cluster::answering(|path| {
        if path.split('?').next() != Some("/apis/platform.trading/v1alpha1/namespaces/test/tradingplatforms")
        {
            return not_found();
        }
        let item = |name| json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": name}});
        let list = json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": {},
            "items": [item("shop"), item("exchange")],
        });
        (200, list)
    });
    let done = cluster.status(&["chop", "-n", "test"]);
    assert_eq!((done.code, done.out.as_str()), (1, ""));
    assert_eq!(done.err, "error: no tradingplatform \"chop\" in namespace \"test\"; there: shop, exchange\n");
}

#[test]
fn a_cluster_without_the_kind_comes_with_the_remedy() {
    // The apiserver says it in either way, depending on whether it knows the group.
    for answer in [not_found(), (404, json!("404 page not found"))] {
        let done = Cluster::answering(move |_| answer.clone()).status(&["shop"]);
        assert_eq!((done.code, done.out.as_str()), (1, ""));
        assert_eq!(
            done.err,
            "error: the cluster does not know tradingplatforms: install the operator's chart, or kubectl trading crd | kubectl apply -f -\n"
        );
    }
}

#[test]
fn the_apiservers_own_words_are_passed_on() {
    let message = "tradingplatforms.platform.trading is forbidden: User \"a\" cannot get resource";
    let answer = json!({"kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403, "message": message});
    let done = Cluster::answering(move |_| (403, answer.clone())).status(&["shop"]);
    assert_eq!((done.code, done.err), (1, format!("error: {message}\n")));
}

#[test]
fn a_cluster_that_cannot_be_reached_is_named() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let kubeconfig = json!({
        "clusters": [{"name": "c", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {}}],
        "current-context": "c",
    });
    let cluster = Cluster { kubeconfig: file("kubeconfig-of-nothing", &kubeconfig.to_string()) };
    let done = cluster.status(&["shop"]);
    assert_eq!((done.code, done.out.as_str()), (1, ""));
    assert_eq!(
        done.err,
        format!("error: cannot reach http://127.0.0.1:{port}/: Connection refused (os error 111)\n")
    );

    let done = Cluster { kubeconfig: "/nowhere".into() }.status(&["shop"]);
    assert_eq!(done.code, 1);
    assert!(done.err.starts_with("error: no cluster to ask, set KUBECONFIG: "), "{}", done.err);
}

#[test]
fn watching_shows_each_change_and_ends_when_ready() {
    let looks = AtomicUsize::new(0);
    let cluster = Cluster::without_pods(move |_| match looks.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => (200, platform("False")),
        2 => (
            500,
            json!({"kind": "Status", "status": "Failure", "code": 500, "reason": "", "message": "etcd is away"}),
        ),
        _ => (200, platform("True")),
    });
    let done = cluster.status(&["shop", "--watch"]);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    let shown: Vec<Vec<&str>> = done.out.split("\n\n").map(|text| text.lines().skip(1).collect()).collect();
    let not_ready = "◐ Not ready (Because) since 2026-01-02T03:04:05Z: of this";
    let ready = "✔ Ready (Because) since 2026-01-02T03:04:05Z: of this";
    assert_eq!(shown, [vec![not_ready], vec![not_ready, "etcd is away; trying again"], vec![ready]]);
}

#[test]
fn watching_ends_when_the_platform_goes() {
    let looks = AtomicUsize::new(0);
    let cluster = Cluster::without_pods(move |path| match looks.fetch_add(1, Ordering::Relaxed) {
        0 => (200, platform("False")),
        _ if path.contains('?') || path.ends_with("tradingplatforms") => (
            200,
            json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": {}, "items": []}),
        ),
        _ => not_found(),
    });
    let done = cluster.status(&["shop", "-w"]);
    assert_eq!(
        (done.code, done.err.as_str()),
        (1, "error: no tradingplatform \"shop\" in namespace \"prod\"; there: none\n")
    );
}

#[test]
fn colours_are_only_for_those_who_see_them() {
    let coloured = |name: &str, value: &str, also: Option<&str>| {
        let cluster = Cluster::answering(|_| (200, platform("True")));
        let mut command = plugin(&["status", "shop"]);
        command.env("KUBECONFIG", &cluster.kubeconfig).env(name, value);
        if let Some(name) = also {
            command.env(name, "1");
        }
        Done::from(command.output().unwrap()).out.contains('\x1b')
    };
    assert!(!coloured("TERM", "xterm-256color", None));
    assert!(coloured("FORCE_COLOR", "1", None));
    assert!(!coloured("FORCE_COLOR", "1", Some("NO_COLOR")));
}
