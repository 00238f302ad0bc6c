//! Add-ons that come and go: follows the definition of each of their kinds, watches the operator's
//! objects of the kind while it is served, and wakes the platforms that want it.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, pending},
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::{select, sync::mpsc, task::JoinHandle};
use trading_core::kinds::KindInfo;

use crate::{
    cache::Caches,
    watch::{self, Report},
};

/// Pauses before each look whether a definition is served yet: the apiserver takes a moment, and
/// several of them take longer. A definition without our version is not asked for again.
const PAUSES: [Duration; 8] = [
    Duration::ZERO,
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(15),
];

type Definition = PartialObjectMeta<CustomResourceDefinition>;

/// Follows one kind as long as the process lives. Until it is known whether the kind is served,
/// nothing is reconciled.
pub fn follow(client: &Client, info: &'static KindInfo, namespaces: &[String], caches: &Arc<Caches>) {
    let name = format!("definition {}", info.definition());
    caches.sync.expect(&name);
    let follower = Follower {
        client: client.clone(),
        info,
        scopes: match namespaces {
            [] => vec![None],
            some => some.iter().cloned().map(Some).collect(),
        },
        caches: Arc::clone(caches),
        name,
    };
    tokio::spawn(follower.run());
}

struct Follower {
    client: Client,
    info: &'static KindInfo,
    scopes: Vec<Option<String>>,
    caches: Arc<Caches>,
    name: String,
}

/// What a watch of the kind says.
enum Word {
    /// It has its list.
    Listed,
    /// The operator may not list the kind.
    Forbidden(String),
}

/// The watches of a kind that is served, by scope.
struct Watches {
    tasks: Vec<JoinHandle<()>>,
    words: mpsc::UnboundedReceiver<(usize, Word)>,
    without_list: HashSet<usize>,
    was_forbidden: bool,
}

impl Watches {
    /// The next word; never one where there are no watches.
    async fn next(watches: &mut Option<Self>) -> (usize, Word) {
        match watches {
            // Without its senders a watch is silent.
            Some(watches) => match watches.words.recv().await {
                Some(word) => word,
                None => pending().await,
            },
            None => pending().await,
        }
    }
}

impl Follower {
    async fn run(self) {
        let config = watcher::Config::default().fields(&format!("metadata.name={}", self.info.definition()));
        let api: Api<Definition> = Api::all(self.client.clone());
        let mut definitions = watcher(api, config).default_backoff().boxed();
        let mut look: BoxFuture<'static, bool> = pending().boxed();
        let mut watches: Option<Watches> = None;
        let (mut listed, mut has_failed) = (false, false);
        loop {
            select! {
                event = definitions.next() => match event {
                    Some(Ok(event)) => {
                        has_failed = false;
                        match presence(&event, &mut listed) {
                            Some(true) => look = self.look(),
                            Some(false) => {
                                look = pending().boxed();
                                self.stop(watches.take()).await;
                                self.decided();
                            }
                            None => {}
                        }
                    }
                    Some(Err(error)) => {
                        self.failed(&error, has_failed);
                        has_failed = true;
                    }
                    None => return,
                },
                served = &mut look => {
                    look = pending().boxed();
                    if !served {
                        self.stop(watches.take()).await;
                    } else if watches.is_none() {
                        watches = Some(self.start());
                    }
                },
                (scope, word) = Watches::next(&mut watches) => {
                    if let Some(watches) = &mut watches {
                        self.hear(scope, word, watches);
                    }
                }
            }
        }
    }

    /// Whether the kind is served in our version.
    fn look(&self) -> BoxFuture<'static, bool> {
        let (client, info) = (self.client.clone(), self.info);
        let (caches, name) = (Arc::clone(&self.caches), self.name.clone());
        async move {
            let mut pauses = PAUSES.iter();
            let mut pause = pauses.next();
            while let Some(wait) = pause {
                tokio::time::sleep(*wait).await;
                match client.list_api_group_resources(&info.kind.api_version()).await {
                    Ok(list) if list.resources.iter().any(|resource| resource.name == info.plural) => {
                        return true;
                    }
                    Err(error) if !is_absent(&error) => {
                        tracing::debug!(watch = name, %error, "can't see what is served; it is tried again");
                        // Only what was said counts.
                        pause = Some(PAUSES.last().unwrap_or(wait));
                        continue;
                    }
                    Ok(_) | Err(_) => caches.sync.listed(&name),
                }
                pause = pauses.next();
            }
            false
        }
        .boxed()
    }

    fn start(&self) -> Watches {
        tracing::info!(kind = %self.info.kind, "an add-on is there: its kind is served");
        let (sender, words) = mpsc::unbounded_channel();
        let tasks = self.scopes.iter().enumerate().map(|(index, scope)| {
            let report = report(self.name.clone(), index, sender.clone());
            watch::children(&self.client, self.info, scope.as_deref(), &self.caches, report)
        });
        Watches {
            tasks: tasks.collect(),
            words,
            without_list: (0..self.scopes.len()).collect(),
            was_forbidden: false,
        }
    }

    fn hear(&self, scope: usize, word: Word, watches: &mut Watches) {
        match word {
            Word::Listed => {
                watches.without_list.remove(&scope);
                watches.was_forbidden = false;
                if watches.without_list.is_empty() {
                    self.set(true);
                    self.decided();
                }
            }
            Word::Forbidden(error) => {
                if !watches.was_forbidden {
                    watches.was_forbidden = true;
                    tracing::warn!(
                        kind = %self.info.kind, error,
                        "the operator has no right to this kind; its objects are left out until the chart's rules are up to date"
                    );
                }
                self.decided();
            }
        }
    }

    /// Ends the watches and forgets what they saw.
    async fn stop(&self, watches: Option<Watches>) {
        let Some(watches) = watches else { return };
        tracing::info!(kind = %self.info.kind, "an add-on went: its kind is no longer served");
        self.set(false);
        for task in watches.tasks {
            task.abort();
            // It may be in the middle of an event; an error says that it was aborted.
            let _ = task.await;
        }
        for platform in self.caches.children.retain(self.info.kind, None, &HashSet::new()) {
            self.caches.triggers.wake(platform, "an add-on went");
        }
    }

    fn set(&self, served: bool) {
        for platform in self.caches.add_ons.set(self.info.kind, served) {
            self.caches.triggers.wake(platform, "an add-on came or went");
        }
    }

    /// Reconciling need not wait for this kind any more.
    fn decided(&self) {
        self.caches.sync.listed(&self.name);
    }

    fn failed(&self, error: &watcher::Error, again: bool) {
        if again {
            tracing::debug!(watch = self.name, %error, "a watch failed again");
        } else {
            tracing::warn!(watch = self.name, %error, "a watch failed and is tried again");
        }
        self.caches.sync.failed(&self.name, error.to_string());
        if code(error) == Some(403) {
            self.decided();
        }
    }
}

/// Whether the definition is there and stays, as far as the event says.
fn presence(event: &Event<Definition>, listed: &mut bool) -> Option<bool> {
    let stays = |definition: &Definition| definition.metadata.deletion_timestamp.is_none();
    match event {
        Event::Init => {
            *listed = false;
            None
        }
        Event::InitApply(definition) => {
            *listed = stays(definition);
            None
        }
        Event::InitDone => Some(*listed),
        Event::Apply(definition) => Some(stays(definition)),
        Event::Delete(_) => Some(false),
    }
}

/// Failures of a kind that may just be going are no cause for alarm.
fn report(name: String, scope: usize, words: mpsc::UnboundedSender<(usize, Word)>) -> Report {
    Box::new(move |result| {
        let word = match result {
            Ok(()) => Word::Listed,
            Err(error) => match code(error) {
                Some(403) => Word::Forbidden(error.to_string()),
                Some(404 | 405 | 410) => {
                    tracing::debug!(watch = name, %error, "the kind is not served at the moment");
                    return;
                }
                _ => {
                    tracing::warn!(watch = name, %error, "a watch failed and is tried again");
                    return;
                }
            },
        };
        // The other side ends only after this one.
        let _ = words.send((scope, word));
    })
}

fn is_absent(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

fn code(error: &watcher::Error) -> Option<u16> {
    let of = |error: &kube::Error| match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    };
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => of(error),
        watcher::Error::WatchError(status) => Some(status.code),
        watcher::Error::NoResourceVersion => None,
    }
}
