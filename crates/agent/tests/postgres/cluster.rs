//! Three agents with their servers, each at a loopback address of its own.

use std::fmt::Write;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, NoTls};

use super::api::Api;
use super::authority::Authority;
use super::server::{Bench, free_port};
use super::small_volume::{SmallVolume, make_disk};
use super::{OWNER, REPLICATION};

pub const MEMBERS: usize = 3;
/// Time in which a login is made and told of.
const TOLD: Duration = Duration::from_secs(40);

/// Three servers that find each other.
pub struct Cluster<'a> {
    bench: &'a Bench,
    pub api: Api,
    network: [u8; 2],
    port: u16,
    agent_port: u16,
    servers: Vec<Server>,
    synchronous: bool,
    /// The log has a folder of its own.
    log_apart: bool,
    /// Version that the agents are asked for.
    pub major: String,
    /// Servers have certificates.
    encrypted: bool,
    /// Where the first server has its data, in the folder `volume`.
    volume: Option<SmallVolume>,
}

struct Server {
    port: u16,
    life: u32,
    agent: Option<Child>,
}

pub fn name(index: usize) -> String {
    format!("shop-postgres-{index}")
}

impl<'a> Cluster<'a> {
    pub async fn new(bench: &'a Bench, synchronous: bool) -> Self {
        let mut cluster = Self::prepared(bench, synchronous).await;
        cluster.grow(0, MEMBERS);
        cluster
    }

    /// With certificates, which are in the folder `tls` of each.
    pub async fn encrypted(bench: &'a Bench, authority: &Authority) -> Self {
        let mut cluster = Self::prepared(bench, true).await;
        cluster.encrypted = true;
        (0..MEMBERS).for_each(|index| fs::create_dir_all(cluster.file(index, "tls")).expect("made"));
        cluster.certify(authority, std::slice::from_ref(authority));
        cluster.grow(0, MEMBERS);
        cluster
    }

    /// The kubelet brings every server a certificate of this authority, and whom to trust.
    pub fn certify(&self, authority: &Authority, trusted: &[Authority]) {
        let names: Vec<String> = (0..MEMBERS).map(|index| self.address(index).to_string()).collect();
        let [certificate, key] = authority.certify(&names);
        let all = trusted.iter().map(Authority::pem).collect::<String>();
        for (file, text) in [("tls.crt", certificate), ("tls.key", key), ("ca.crt", all)] {
            self.write(&format!("tls/{file}"), &text);
        }
    }

    /// One server that knows of no other.
    pub async fn alone(bench: &'a Bench) -> Self {
        let mut cluster = Self::prepared(bench, false).await;
        cluster.log_apart = true;
        cluster.grow(0, 1);
        cluster
    }

    async fn prepared(bench: &'a Bench, synchronous: bool) -> Self {
        let api = Api::start().await;
        let servers = (0..MEMBERS).map(|_| Server { port: free_port(), life: 1, agent: None }).collect();
        // Tests of one process differ by port, those of others by network.
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let network = [high | 1, low | 1];
        let (port, agent_port) = (free_port(), free_port());
        Self {
            bench,
            api,
            network,
            port,
            agent_port,
            servers,
            synchronous,
            log_apart: false,
            major: bench.major().to_owned(),
            encrypted: false,
            volume: None,
        }
    }

    /// One server with little room. `None` where the machine lets nobody make such a volume.
    pub async fn on_a_small_volume(bench: &'a Bench, megabytes: u32) -> Option<Self> {
        let mut cluster = Self::prepared(bench, false).await;
        let folder = cluster.file(0, "volume");
        fs::create_dir_all(&folder).expect("made");
        cluster.volume = Some(SmallVolume::new(&folder, megabytes, bench.user())?);
        cluster.grow(0, 1);
        Some(cluster)
    }

    /// One server on a disk of its own. `None` where the machine lets nobody make such a volume.
    pub async fn on_a_disk(bench: &'a Bench, megabytes: u32) -> Option<Self> {
        let mut cluster = Self::prepared(bench, false).await;
        let (folder, disk) = (cluster.file(0, "volume"), cluster.file(0, "disk"));
        fs::create_dir_all(&folder).expect("made");
        make_disk(&disk, megabytes, bench.user());
        cluster.volume = Some(SmallVolume::on_disk(&folder, &disk)?);
        cluster.grow(0, 1);
        Some(cluster)
    }

    /// The node of the first server is without power from one moment to the next, and comes back.
    pub fn cut_power(&mut self) {
        self.freeze(0);
        let (disk, left) = (self.file(0, "disk"), self.file(0, "disk-left"));
        fs::copy(disk, &left).expect("copied");
        self.kill(0);
        // The folder of another mount namespace.
        self.volume = None;
        self.volume = SmallVolume::on_disk(&self.file(0, "volume"), &left);
        self.start(0);
    }

    pub fn grow_volume(&self, megabytes: u32) {
        self.volume.as_ref().expect("it has one").grow(megabytes);
    }

    /// As the kubelet does with a container that ends.
    pub fn start_again_if_ended(&mut self, index: usize) {
        let agent = self.servers[index].agent.as_mut().expect("it was started");
        if agent.try_wait().expect("asked").is_some() {
            self.start(index);
        }
    }

    /// From so many servers to so many, as the operator does it: all are told, and none is restarted.
    pub fn grow(&mut self, from: usize, to: usize) {
        (from..to).for_each(|index| self.write_files(index));
        let members = (0..to).fold(String::new(), |mut text, member| {
            // Writing to a String can't fail.
            let _ = writeln!(text, "{}={}", name(member), self.address(member));
            text
        });
        for index in 0..to {
            fs::write(self.file(index, "members"), &members).expect("written");
        }
        (from..to).for_each(|index| self.start(index));
    }

    fn address(&self, index: usize) -> Ipv4Addr {
        Ipv4Addr::new(127, self.network[0], self.network[1], 11 + u8::try_from(index).expect("few"))
    }

    /// Where clients reach a server.
    pub fn client_address(&self, index: usize) -> SocketAddr {
        (self.address(index), self.port).into()
    }

    /// By the socket, as the agent does.
    pub async fn superuser(&self, index: usize) -> Result<Client, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host_path(self.file(index, "run")).port(self.servers[index].port);
        let (client, connection) = config.user("postgres").dbname("shop").connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    pub fn file(&self, index: usize, file: &str) -> PathBuf {
        self.bench.root().join(name(index)).join(file)
    }

    fn write_files(&self, index: usize) {
        fs::create_dir_all(self.file(index, "run")).expect("made");
        let access = "local all all trust\nhost replication streaming_replica all scram-sha-256\nhost all all all scram-sha-256\n";
        fs::write(self.file(index, "pg_hba.conf"), access).expect("written");
        let template = format!(
            "listen_addresses = '*'\nport = '5432'\nhba_file = '{}'\nwal_keep_size = '64MB'\nmax_connections = '50'\n\
             shared_buffers = '16MB'\n",
            self.file(index, "pg_hba.conf").display()
        );
        fs::write(self.file(index, "template.conf"), template).expect("written");
        fs::write(self.file(index, "login"), "1\n").expect("written");
        fs::create_dir_all(self.file(index, "passwords")).expect("made");
        fs::create_dir_all(self.file(index, "roles")).expect("made");
        fs::write(self.file(index, "kubeconfig"), self.api.kubeconfig(&name(index))).expect("written");
        let paths =
            ["", "run", "pg_hba.conf", "template.conf", "kubeconfig"].map(|file| self.file(index, file));
        self.bench.own_only(&paths);
    }

    /// Starts the agent, in the same pod as before.
    pub fn start(&mut self, index: usize) {
        let agent = env!("CARGO_BIN_EXE_trading-agent");
        let mut command = match &self.volume {
            Some(volume) => self.bench.command_on(volume, agent),
            None => self.bench.command(agent),
        };
        let data = if self.volume.is_some() { "volume/data" } else { "data" };
        command.args(["postgres", "run", "--major", &self.major, "--lease", "shop-postgres"]);
        for (flag, file) in [
            ("--data", data),
            ("--template", "template.conf"),
            ("--members", "members"),
            ("--login", "login"),
            ("--passwords", "passwords"),
            ("--objects", "objects"),
            ("--roles", "roles"),
            ("--output", "run/postgresql.conf"),
            ("--termination-log", "run/termination"),
        ] {
            command.arg(flag).arg(self.file(index, file));
        }
        command.args(["--database", "shop", "--owner", "app", "--address", &self.address(index).to_string()]);
        command.args(["--port", &self.port.to_string(), "--agent-port", &self.agent_port.to_string()]);
        command.args(["--tell-failure-seconds", "5"]);
        command.args(["--server-port", &self.servers[index].port.to_string()]);
        if self.synchronous {
            command.arg("--synchronous");
        }
        if self.encrypted {
            command.arg("--tls").arg(self.file(index, "tls"));
            command.arg("--access").arg(self.file(index, "pg_hba.conf"));
        }
        if self.log_apart {
            command.arg("--wal").arg(self.file(index, "wal"));
        }
        let log =
            fs::OpenOptions::new().create(true).append(true).open(self.file(index, "log")).expect("opened");
        command
            .env("KUBECONFIG", self.file(index, "kubeconfig"))
            .env("POD_NAME", name(index))
            .env("POD_UID", format!("life-{}", self.servers[index].life))
            .env("POD_NAMESPACE", "ns")
            .env("OWNER_PASSWORD", OWNER)
            .env("SUPERUSER_PASSWORD", "super")
            .env("REPLICATION_PASSWORD", REPLICATION)
            .stdout(log.try_clone().expect("cloned"))
            .stderr(log);
        self.servers[index].agent = Some(command.spawn().expect("the agent starts"));
    }

    /// The next start is that of another pod of this name.
    pub fn renew(&mut self, index: usize) {
        self.servers[index].life += 1;
    }

    /// The agent and everything below it.
    fn processes(&self, index: usize) -> Vec<u32> {
        let Some(agent) = &self.servers[index].agent else { return Vec::new() };
        let mut found = vec![agent.id()];
        let all: Vec<(u32, u32)> = fs::read_dir("/proc")
            .expect("read")
            .flatten()
            .filter_map(|entry| {
                let pid = entry.file_name().to_str()?.parse().ok()?;
                let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
                let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
                Some((pid, parent))
            })
            .collect();
        let mut next = 0;
        while next < found.len() {
            let above = found[next];
            found.extend(all.iter().filter(|(_, parent)| *parent == above).map(|(pid, _)| *pid));
            next += 1;
        }
        found
    }

    /// Arguments of the agent and of everything below it, and the environments below it.
    pub fn seen_by_others(&self, index: usize) -> String {
        let processes = self.processes(index);
        let read = |pid: &u32, file| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let arguments = processes.iter().map(|pid| read(pid, "cmdline"));
        let environments = processes.iter().skip(1).map(|pid| read(pid, "environ"));
        let all: Vec<u8> = arguments.chain(environments).flatten().collect();
        assert!(processes.len() > 3, "the agent and its server run");
        String::from_utf8_lossy(&all).into_owned()
    }

    fn signal(&self, index: usize, signal: &str) {
        let pids: Vec<String> = self.processes(index).iter().map(ToString::to_string).collect();
        if pids.is_empty() {
            return;
        }
        // One that ended meanwhile is none the worse.
        let _ = Command::new("kill").arg(signal).args(pids).stderr(Stdio::null()).status();
    }

    /// Everything of a server stands still; nothing that begins meanwhile is missed.
    pub fn freeze(&self, index: usize) {
        (0..3).for_each(|_| self.signal(index, "-STOP"));
    }

    pub fn thaw(&self, index: usize) {
        self.signal(index, "-CONT");
    }

    pub fn kill(&mut self, index: usize) {
        self.freeze(index);
        self.signal(index, "-KILL");
        if let Some(mut agent) = self.servers[index].agent.take() {
            agent.wait().expect("it ends");
        }
    }

    /// Tells the agent to end, and waits until it has.
    pub async fn stop(&mut self, index: usize) -> io::Result<Duration> {
        let Some(mut agent) = self.servers[index].agent.take() else { return Ok(Duration::ZERO) };
        let began = Instant::now();
        Command::new("kill").args(["-TERM", &agent.id().to_string()]).status()?;
        loop {
            if let Some(status) = agent.try_wait()? {
                assert!(status.success(), "{status}: {}", self.log(index));
                return Ok(began.elapsed());
            }
            assert!(began.elapsed() < Duration::from_mins(1), "{}", self.log(index));
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// How the agent ended, once it has.
    pub async fn end(&mut self, index: usize) -> (bool, String) {
        let mut agent = self.servers[index].agent.take().expect("it runs");
        let began = Instant::now();
        loop {
            if let Some(status) = agent.try_wait().expect("asked") {
                let said = fs::read_to_string(self.file(index, "run/termination")).unwrap_or_default();
                return (status.success(), said);
            }
            assert!(began.elapsed() < Duration::from_mins(1), "{}", self.log(index));
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn log(&self, index: usize) -> String {
        fs::read_to_string(self.file(index, "log")).unwrap_or_default()
    }

    pub async fn get(&self, index: usize, path: &str) -> Option<(u16, String)> {
        let ask = async {
            let mut stream = TcpStream::connect((self.address(index), self.agent_port)).await?;
            stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, io::Error>(answer)
        };
        let answer = timeout(Duration::from_secs(4), ask).await.ok()?.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    pub async fn status(&self, index: usize) -> Option<Value> {
        serde_json::from_str(&self.get(index, "/status").await?.1).ok()
    }

    /// What the operator is told.
    pub async fn report(&self, index: usize) -> Option<Value> {
        serde_json::from_str(&self.get(index, "/report").await?.1).ok()
    }

    /// Why a server can't run, as its agent tells before it ends.
    pub async fn failure(&self, index: usize) -> Value {
        let began = Instant::now();
        loop {
            let told = self.report(index).await.map(|report| report["failure"].clone());
            match told.filter(Value::is_object) {
                Some(failure) => return failure,
                None if began.elapsed() > Duration::from_secs(30) => panic!("{}", self.log(index)),
                None => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// The one that takes writes and may say so.
    pub async fn primary(&self) -> Option<usize> {
        for index in 0..MEMBERS {
            if self.get(index, "/ready").await.is_some_and(|(code, body)| code == 200 && body == "primary\n")
            {
                return Some(index);
            }
        }
        None
    }

    /// Waits until one leads.
    pub async fn leads(&self, patience: Duration) -> usize {
        let end = Instant::now() + patience;
        loop {
            if let Some(primary) = self.primary().await {
                return primary;
            }
            assert!(Instant::now() < end, "{}", self.everything().await);
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until one leads and the others follow.
    pub async fn settles(&self, patience: Duration) -> usize {
        let end = Instant::now() + patience;
        loop {
            if let Some(primary) = self.primary().await
                && self.all_follow(primary).await
            {
                return primary;
            }
            assert!(Instant::now() < end, "{}", self.everything().await);
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn all_follow(&self, primary: usize) -> bool {
        let Some(leader) = self.status(primary).await else { return false };
        for index in (0..MEMBERS).filter(|index| *index != primary) {
            let Some(status) = self.status(index).await else { return false };
            let follows = status["role"] == "standby"
                && status["receiving"] == true
                && status["position"]["timeline"] == leader["position"]["timeline"];
            if !follows {
                return false;
            }
        }
        true
    }

    /// The kubelet brings what the operator writes to every server.
    pub fn write(&self, file: &str, text: &str) {
        (0..MEMBERS).for_each(|index| fs::write(self.file(index, file), text).expect("written"));
    }

    /// Waits until the primary says this in the Lease.
    pub async fn is_told(&self, expected: &str) {
        let end = Instant::now() + TOLD;
        while !self.api.lease().contains(expected) {
            assert!(Instant::now() < end, "not {expected}: {}", self.everything().await);
            sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn everything(&self) -> String {
        let mut text = format!("the Lease: {}\n", self.api.lease());
        for index in 0..MEMBERS {
            let log = self.log(index);
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            // Writing to a String can't fail.
            let _ = write!(text, "{}: {:?}\n{}\n", name(index), self.status(index).await, tail.join("\n"));
        }
        text
    }

    /// Most memory that the agent had, in KiB.
    pub fn peak_memory(&self, index: usize) -> u64 {
        let agent = self.servers[index].agent.as_ref().expect("it runs");
        let status = fs::read_to_string(format!("/proc/{}/status", agent.id())).expect("read");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it is there");
        line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        for index in 0..MEMBERS {
            self.kill(index);
        }
    }
}
