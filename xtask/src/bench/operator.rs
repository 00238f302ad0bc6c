//! The operator, measured from its first platform to its second start.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use trading_testbed::audit::Entry;
use trading_testbed::{Operator, OperatorConfig};

use super::cpu;
use super::plane::{Account, NAMESPACE, Plane};
use super::requests::{self, Requests};
use super::result::{Cost, Creation, Edit, Measured, Rest, Restart};
use super::subject::Subject;
use super::traffic::Traffic;

/// Longer than the operator ever puts a report of progress off.
const QUIET: Duration = Duration::from_secs(12);

const LIMIT: Duration = Duration::from_mins(20);

const STOP: Duration = Duration::from_secs(30);

/// A control plane, the operator on it, and what is measured.
struct Run<'a> {
    subject: &'a Subject,
    platforms: usize,
    plane: Plane,
    operator: Operator,
    port: u16,
    traffic: Traffic,
}

/// Measures everything but the bare client, on a control plane of its own.
pub async fn measure(binary: &Path, subject: &Subject, platforms: usize, rest: Duration) -> Result<Measured> {
    let mut run = Run::start(binary, subject, platforms).await?;
    let creation = run.create().await?;
    let rest = run.rest(rest).await?;
    let edit = run.edit().await?;
    let restart = run.restart().await?;
    Ok(Measured { platforms, creation, rest, edit, restart })
}

/// Only how long it takes until all children exist, and everybody's CPU time for it.
pub async fn creation(binary: &Path, subject: &Subject, platforms: usize) -> Result<Cost> {
    let mut run = Run::start(binary, subject, platforms).await?;
    Ok(run.create().await?.cost())
}

impl<'a> Run<'a> {
    async fn start(binary: &Path, subject: &'a Subject, platforms: usize) -> Result<Self> {
        let plane = Plane::start(subject, platforms).await?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let config = OperatorConfig {
            binary: binary.to_owned(),
            kubeconfig: plane.kubeconfig(Account::Operator)?,
            args: vec![format!("--http-addr=127.0.0.1:{port}"), format!("--lease-namespace={NAMESPACE}")],
            env: Vec::new(),
            log: plane.file("operator.log"),
        };
        let traffic = Traffic::of(&Account::Operator.user(), &plane.audit_log())?;
        let operator = Operator::start(config)?;
        let mut run = Self { subject, platforms, plane, operator, port, traffic };
        run.wait_until_ready().await?;
        run.settle().await?;
        Ok(run)
    }

    async fn create(&mut self) -> Result<Creation> {
        let (cpu_before, all_before) = (self.operator.cpu_seconds()?, cpu::seconds()?);
        let revision_before = self.plane.revision().await?;
        let started = Timestamp::now();
        self.plane.create_platforms(self.subject, self.platforms).await?;
        let all_after = self.settle().await?;
        let changes = self.plane.revision().await? - revision_before;

        let everybodys = self.plane.requests(started)?;
        let stored = everybodys.iter().filter(|entry| requests::is_stored(entry)).count();
        let made: Vec<_> = everybodys
            .iter()
            .filter(|entry| entry.resource == "tradingplatforms" && entry.verb == "create")
            .cloned()
            .collect();
        let ours = operators(everybodys);
        let children = requests::created(&ours);
        let expected = self.subject.children() * self.platforms;
        ensure!(children.len() == expected, "the operator made {} of {expected} objects", children.len());
        Ok(Creation {
            time: requests::span(&made, &children).context("no platform was made")?,
            requests: Requests::count(&ours),
            // They leave the store's version as it was. The apiserver changes a few things by itself.
            no_ops: u64::try_from(stored)?.saturating_sub(changes),
            cpu_seconds: self.operator.cpu_seconds()? - cpu_before,
            everybodys_cpu_seconds: all_after - all_before,
            peak_memory: self.operator.peak_memory()?,
        })
    }

    async fn rest(&mut self, window: Duration) -> Result<Rest> {
        let cpu_before = self.operator.cpu_seconds()?;
        let started = Timestamp::now();
        tokio::time::sleep(window).await;
        let requests = Requests::count(&operators(self.plane.requests(started)?));
        Ok(Rest { window, requests, cpu_seconds: self.operator.cpu_seconds()? - cpu_before })
    }

    async fn edit(&mut self) -> Result<Edit> {
        let started = Timestamp::now();
        self.plane.edit(self.subject).await?;
        self.settle().await?;
        let ours = operators(self.plane.requests(started)?);
        Ok(Edit { requests: Requests::count(&ours), writes: requests::writes_by_resource(&ours) })
    }

    async fn restart(&mut self) -> Result<Restart> {
        self.operator.terminate(STOP)?;
        let started = Timestamp::now();
        self.operator.restart()?;
        self.wait_until_ready().await?;
        self.settle().await?;
        let ours = operators(self.plane.requests(started)?);
        let work: Vec<_> = ours.iter().filter(|entry| requests::is_work(entry)).cloned().collect();
        let last = work.iter().map(|entry| entry.answered).max().unwrap_or(started);
        Ok(Restart {
            quiet_after: Duration::try_from(last.duration_since(started)).unwrap_or_default(),
            requests: Requests::count(&ours),
            cpu_seconds: self.operator.cpu_seconds()?,
            peak_memory: self.operator.peak_memory()?,
        })
    }

    async fn settle(&mut self) -> Result<f64> {
        let settled = self.traffic.settle(QUIET, LIMIT).await;
        if let Some(status) = self.operator.exited()? {
            bail!("the operator ended with {status}: {}", self.last_words()?);
        }
        settled.with_context(|| self.last_words().unwrap_or_default())
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let started = Instant::now();
        while !is_ready(self.port).await {
            if self.operator.exited()?.is_some() || started.elapsed() > LIMIT {
                bail!("the operator is not ready: {}", self.last_words()?);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    fn last_words(&self) -> Result<String> {
        let log = self.operator.log()?;
        let lines: Vec<_> = log.lines().collect();
        Ok(lines[lines.len().saturating_sub(10)..].join("\n"))
    }
}

fn operators(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.retain(|entry| entry.user == Account::Operator.user());
    entries
}

/// Whether the operator has all its lists.
async fn is_ready(port: u16) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer.split_whitespace().nth(1) == Some("200"))
    };
    ask.await.unwrap_or_default()
}
