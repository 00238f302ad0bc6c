//! Pods on this machine: a directory and a loopback address each, with the agent as main process.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::authority::Authority;
use crate::client::{PASSWORD, SERVER, Seeds, address, ask_with, encrypt};
use crate::small_volume::SmallVolume;
use crate::support::{Scratch, free_port, mount};

pub const METRICS_PORT: u16 = 9121;

/// Whether the machine has Redis; says so where it has not.
pub fn has_redis() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join("redis-server").is_file());
    if !found {
        // Past the harness, which would swallow it for a test that passes.
        let _ = writeln!(io::stderr(), "skipped: redis-server is not on PATH");
    }
    found
}

/// A set of pods with one headless Service.
pub struct Fleet {
    scratch: Scratch,
    pub name: String,
    pub port: u16,
    network: u16,
    next_address: u8,
    pods: BTreeMap<usize, Pod>,
    ips: BTreeMap<usize, IpAddr>,
    /// Whom DNS does not know yet.
    unnamed: BTreeSet<usize>,
    pub seeds: Seeds,
    further: Vec<String>,
    template: String,
    /// Servers are known by addresses, which they keep, as by names where there is DNS.
    by_address: bool,
    /// What this machine's own questions log in with.
    pub password: String,
    encrypted: bool,
    /// Where the first server has its data.
    volume: Option<SmallVolume>,
}

struct Pod {
    child: Child,
}

impl Fleet {
    pub fn new(name: &str, port: u16, template: &str, further: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Other runs on this machine have other networks.
        let scratch = Scratch::new();
        mount(&scratch.file("secret"), &[("password", OsStr::new(PASSWORD))]);
        let number = std::process::id().wrapping_mul(8).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let network = u16::try_from(number % 0x7fff).expect("it fits") + 256;
        Self {
            scratch,
            name: name.to_owned(),
            port,
            network,
            next_address: 0,
            pods: BTreeMap::new(),
            ips: BTreeMap::new(),
            unnamed: BTreeSet::new(),
            seeds: Arc::new(Mutex::new(Vec::new())),
            further: further.iter().map(|&it| it.to_owned()).collect(),
            template: template.to_owned(),
            by_address: false,
            password: PASSWORD.to_owned(),
            encrypted: false,
            volume: None,
        }
    }

    /// The first server's data is on this.
    pub fn keep_data_on(&mut self, volume: SmallVolume) {
        self.volume = Some(volume);
    }

    pub fn volume(&self) -> &SmallVolume {
        self.volume.as_ref().expect("it has one")
    }

    /// As the kubelet does with a container that ends.
    pub fn start_again_if_ended(&mut self, ordinal: usize) {
        let pod = self.pods.get_mut(&ordinal).expect("it was started");
        if pod.child.try_wait().expect("asked").is_some() {
            self.start(ordinal);
        }
    }

    /// Servers, agents and clients speak TLS alone.
    pub fn encrypt(&mut self, authority: &Authority) {
        self.encrypted = true;
        self.certify(authority, &authority.pem());
        encrypt(self.port, authority);
    }

    /// The kubelets bring another certificate, and whom to trust.
    pub fn certify(&self, authority: &Authority, trusted: &str) {
        let [certificate, key] = authority.certify(&[SERVER.to_owned()]);
        let files = [("tls.crt", certificate.as_str()), ("tls.key", &key), ("ca.crt", trusted)];
        mount(&self.scratch.file("tls"), &files.map(|(file, text)| (file, OsStr::new(text))));
    }

    /// Six servers of a Redis Cluster, with the configuration that the operator writes.
    pub fn cluster(name: &str, port: u16, shards: usize, replicas: usize) -> Self {
        let template = "appendonly yes\nappendfsync always\ncluster-enabled yes\ncluster-node-timeout 5000\n";
        let mut fleet = Self::new(name, port, template, &[]);
        fleet.further = vec!["--cluster".to_owned(), fleet.scratch.file("cluster").display().to_string()];
        fleet.wish(shards, replicas);
        fleet
    }

    /// A cluster that has formed, with a replica for each master.
    pub fn formed(shards: usize) -> Self {
        Self::cluster("shop-redis", free_port(), shards, 1).form_servers(0..shards * 2)
    }

    /// Starts these, and lets them form.
    pub fn form_servers(mut self, ordinals: std::ops::Range<usize>) -> Self {
        for ordinal in ordinals {
            self.start(ordinal);
        }
        self.until("the cluster forms", Duration::from_mins(1), Self::is_settled);
        self
    }

    /// The operator says how the cluster should be.
    pub fn wish(&self, shards: usize, replicas: usize) {
        let name = &self.name;
        let text = format!("shards {shards}\nreplicas-per-shard {replicas}\nhost {name}-{{}}.h.ns.svc\n");
        replace(&self.scratch.file("cluster"), &text);
    }

    /// How many slots a server owns.
    pub fn slots(&self, ordinal: usize) -> usize {
        let line = self.line(ordinal);
        let count = |word: &str| {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            Some(last.parse::<usize>().ok()? + 1 - first.parse::<usize>().ok()?)
        };
        line.split(' ').skip(8).filter_map(count).sum()
    }

    /// Servers or Sentinels that keep their addresses.
    pub fn at_addresses(name: &str, port: u16, count: usize) -> Self {
        let mut fleet = Self::new(name, port, "", &[]);
        fleet.by_address = true;
        for ordinal in 0..count {
            let ip = fleet.new_ip();
            fleet.ips.insert(ordinal, ip);
        }
        fleet
    }

    pub fn configure(&mut self, template: &str, further: &[&str]) {
        template.clone_into(&mut self.template);
        self.further = further.iter().map(|&it| it.to_owned()).collect();
    }

    pub fn host(&self, ordinal: usize) -> String {
        if self.by_address {
            return self.ips[&ordinal].to_string();
        }
        format!("{}-{ordinal}.h.ns.svc", self.name)
    }

    pub fn folder(&self, ordinal: usize) -> PathBuf {
        self.scratch.file(&format!("pod-{ordinal}"))
    }

    /// An address that no pod had before.
    pub fn new_ip(&mut self) -> IpAddr {
        self.next_address += 1;
        let [high, low] = self.network.to_be_bytes();
        Ipv4Addr::new(127, high, low, self.next_address).into()
    }

    pub fn at(&self, ordinal: usize) -> SocketAddr {
        address(self.ips[&ordinal], self.port)
    }

    pub fn ordinals(&self) -> Vec<usize> {
        self.ips.keys().copied().collect()
    }

    pub fn ask(&self, ordinal: usize, words: &[&str]) -> String {
        ask_with(self.at(ordinal), &self.password, words)
    }

    /// A pod with the volume that it had; at a new address, where addresses change.
    pub fn start(&mut self, ordinal: usize) {
        let ip = if self.by_address { self.ips[&ordinal] } else { self.new_ip() };
        self.start_at(ordinal, ip);
    }

    pub fn start_at(&mut self, ordinal: usize, ip: IpAddr) {
        self.ips.insert(ordinal, ip);
        self.publish();
        let folder = self.folder(ordinal);
        let data = folder.join("data");
        fs::create_dir_all(&data).expect("made");
        let (template, output) = (folder.join("template.conf"), folder.join("redis.conf"));
        self.write_template(ordinal);
        let log = OpenOptions::new().create(true).append(true).open(folder.join("log")).expect("opened");
        let agent = env!("CARGO_BIN_EXE_trading-agent");
        let mut command = match &self.volume {
            Some(volume) => volume.run_in(agent, None),
            None => Command::new(agent),
        };
        command
            .env_clear()
            .current_dir(&folder)
            .env("POD_IP", ip.to_string())
            .env("POD_HOST", self.host(ordinal))
            .args(["redis", "run", "--port", &self.port.to_string()])
            .args(["--metrics-port", &METRICS_PORT.to_string()])
            .arg("--template")
            .arg(template)
            .arg("--output")
            .arg(output)
            .arg("--passwords")
            .arg(self.mounted())
            .arg("--hosts")
            .arg(self.scratch.file("hosts"))
            .args(&self.further)
            .args(self.encrypted.then(|| self.scratch.file("tls")).iter().flat_map(|folder| {
                [OsStr::new("--tls"), folder.as_os_str(), OsStr::new("--tls-name"), OsStr::new(SERVER)]
            }))
            .stdin(Stdio::null())
            .stdout(File::try_clone(&log).expect("cloned"))
            .stderr(log)
            .process_group(0);
        let child = command.spawn().expect("the agent starts");
        self.pods.insert(ordinal, Pod { child });
    }

    /// As the kubelet does.
    fn write_template(&self, ordinal: usize) {
        let folder = self.folder(ordinal);
        let (port, ip, data) = (self.port, self.ips[&ordinal], folder.join("data"));
        let listens = if self.encrypted {
            let file = |name: &str| self.scratch.file("tls").join(name).display().to_string();
            format!(
                "port 0\ntls-port {port}\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\n\
                 tls-auth-clients no\ntls-replication yes\n{}",
                file("tls.crt"),
                file("tls.key"),
                file("ca.crt"),
                if self.template.contains("cluster-enabled") { "tls-cluster yes\n" } else { "" }
            )
        } else {
            format!("port {port}\n")
        };
        let text = format!("{}{listens}bind {ip}\ndir {}\nsave \"\"\n", self.template, data.display());
        replace(&folder.join("template.conf"), &text);
    }

    /// The configuration of all pods changes, also of those that run.
    pub fn edit(&mut self, template: &str) {
        template.clone_into(&mut self.template);
        for ordinal in self.ordinals() {
            self.write_template(ordinal);
        }
    }

    /// A file that all pods see.
    pub fn file(&self, name: &str) -> PathBuf {
        self.scratch.file(name)
    }

    /// Where the Secret is mounted.
    pub fn mounted(&self) -> PathBuf {
        self.scratch.file("secret")
    }

    /// The Secret changes, as the kubelets of all pods have it.
    pub fn secret(&self, keys: &[(&str, &str)]) {
        let keys: Vec<_> = keys.iter().map(|(key, value)| (*key, OsStr::new(*value))).collect();
        mount(&self.mounted(), &keys);
    }

    /// What a server says that it is set to.
    pub fn setting(&self, ordinal: usize, directive: &str) -> String {
        let pair = self.ask(ordinal, &["CONFIG", "GET", directive]);
        pair.split_once('\n').map(|(_, value)| value.to_owned()).unwrap_or_default()
    }

    /// DNS comes to know all pods, but for these.
    pub fn name_all_but(&mut self, unnamed: &[usize]) {
        self.unnamed = unnamed.iter().copied().collect();
        self.publish();
    }

    /// What DNS says now.
    fn publish(&self) {
        let named = self.ips.iter().filter(|(ordinal, _)| !self.unnamed.contains(ordinal));
        let lines: Vec<String> = named.map(|(ordinal, ip)| format!("{ip} {}", self.host(*ordinal))).collect();
        replace(&self.scratch.file("hosts"), &lines.join("\n"));
        let all = self.ips.values().map(|ip| address(*ip, self.port)).collect();
        *self.seeds.lock().expect("no panic") = all;
    }

    /// Agent and server end at once, as when the node loses power.
    pub fn kill(&mut self, ordinal: usize) {
        let Some(mut pod) = self.pods.remove(&ordinal) else { return };
        signal("-KILL", &format!("-{}", pod.child.id()));
        pod.child.wait().expect("it ends");
        let at = self.at(ordinal);
        eventually("the server is gone", Duration::from_secs(10), || {
            std::net::TcpStream::connect_timeout(&at, Duration::from_millis(200)).is_err()
        });
    }

    /// As the kubelet stops a pod.
    pub fn stop(&mut self, ordinal: usize) -> ExitStatus {
        let mut pod = self.pods.remove(&ordinal).expect("it runs");
        signal("-TERM", &pod.child.id().to_string());
        pod.child.wait().expect("it ends")
    }

    /// The operator takes it away; its volume stays.
    pub fn end(&mut self, ordinal: usize) {
        assert!(self.stop(ordinal).success(), "{}", self.log(ordinal));
        self.ips.remove(&ordinal);
        self.publish();
    }

    pub fn lose_volume(&mut self, ordinal: usize) {
        fs::remove_dir_all(self.folder(ordinal).join("data")).expect("removed");
    }

    /// What was in memory alone, as when the pod is replaced.
    pub fn lose_memory(&mut self, ordinal: usize) {
        fs::remove_file(self.folder(ordinal).join("redis.conf")).expect("removed");
    }

    /// For the pod to end by itself.
    pub fn wait(&mut self, ordinal: usize) -> ExitStatus {
        self.pods.remove(&ordinal).expect("it runs").child.wait().expect("it ends")
    }

    pub fn agent(&self, ordinal: usize) -> u32 {
        self.pods[&ordinal].child.id()
    }

    pub fn log(&self, ordinal: usize) -> String {
        fs::read_to_string(self.folder(ordinal).join("log")).unwrap_or_default()
    }

    /// The agents' own lines, and what the servers know of each other.
    pub fn news(&self) -> String {
        let of = |ordinal: usize| {
            let log = self.log(ordinal);
            let lines: Vec<&str> =
                log.lines().filter(|it| it.starts_with("cluster: ") || it.starts_with("stops")).collect();
            let nodes = self.ask(ordinal, &["CLUSTER", "NODES"]);
            format!("-- {ordinal}\n{}\n{nodes}\n", lines.join("\n"))
        };
        self.ordinals().into_iter().map(of).collect()
    }

    #[track_caller]
    pub fn until(
        &self,
        what: &str,
        patience: Duration,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> Duration {
        let start = Instant::now();
        while !condition(self) {
            assert!(start.elapsed() < patience, "waited in vain: {what}\n{}", self.news());
            thread::sleep(Duration::from_millis(50));
        }
        start.elapsed()
    }

    /// All servers see a whole cluster of all of them, their agents find nothing to do, and replicas
    /// have a copy: Redis elects none that has not.
    pub fn is_settled(&self) -> bool {
        self.ordinals().into_iter().all(|ordinal| {
            let metrics = self.metrics(ordinal);
            let says = |line: &str| metrics.lines().any(|it| it == line);
            says("redis_cluster_state 1")
                && says("redis_cluster_slots_ok 16384")
                && says("trading_redis_cluster_settled 1")
                && !says("redis_master_link_up 0")
        })
    }

    pub fn metrics(&self, ordinal: usize) -> String {
        get(address(self.ips[&ordinal], METRICS_PORT), "/metrics").unwrap_or_default()
    }

    /// What the operator is told.
    pub fn report(&self, ordinal: usize) -> Value {
        let text = get(address(self.ips[&ordinal], METRICS_PORT), "/report").unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Digest of the configuration without secrets.
    pub fn template_digest(&self, ordinal: usize) -> String {
        trading_report::digest(&fs::read(self.folder(ordinal).join("template.conf")).expect("it is there"))
    }

    /// The server's own line of `CLUSTER NODES`.
    pub fn line(&self, ordinal: usize) -> String {
        let nodes = self.ask(ordinal, &["CLUSTER", "NODES"]);
        nodes.lines().find(|line| line.contains("myself")).unwrap_or_default().to_owned()
    }

    pub fn id(&self, ordinal: usize) -> String {
        self.line(ordinal).split(' ').next().unwrap_or_default().to_owned()
    }

    pub fn is_master(&self, ordinal: usize) -> bool {
        self.line(ordinal).contains("master")
    }

    /// The first master, and its replicas.
    pub fn shard(&self, master: usize) -> Vec<usize> {
        let id = self.id(master);
        self.ordinals()
            .into_iter()
            .filter(|it| self.line(*it).split(' ').nth(3) == Some(id.as_str()))
            .collect()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for pod in self.pods.values_mut() {
            signal("-KILL", &format!("-{}", pod.child.id()));
            let _ = pod.child.wait();
        }
    }
}

/// In one step, or a reader could meet half of it.
pub fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).expect("written");
    fs::rename(new, file).expect("renamed");
}

pub fn signal(name: &str, process: &str) {
    let status = Command::new("kill").args([name, "--", process]).status();
    assert!(status.is_ok_and(|it| it.success()), "kill {name} {process}");
}

pub fn get(at: SocketAddr, path: &str) -> Option<String> {
    use std::io::Read;
    let mut stream = std::net::TcpStream::connect_timeout(&at, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
}

#[track_caller]
pub fn eventually(what: &str, patience: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < patience, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Resident memory of a process, KiB.
pub fn resident(process: u32) -> u64 {
    let status =
        fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux says it");
    line.split_whitespace().nth(1).and_then(|it| it.parse().ok()).expect("a number")
}

/// A number that tests put on stderr, past the harness.
pub fn measured(what: &str, value: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "measured: {what}: {value}");
}
