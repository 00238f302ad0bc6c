//! What it answers over HTTP; I/O in the stores only.
//!
//! - `GET /standin`: version, requests so far, and which stores answer with which version
//! - `POST /standin/{postgres|redis|redis-confirmed}/{key}`: keeps a key; 200 says that the store has
//!   acknowledged it, the confirmed one that a replica has it as well
//! - `POST /standin/{postgres|redis|redis-confirmed}`: which of the keys in the body, one a line, are not there; one a line
//! - anything else: 200, as a probe expects it

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::counted::Counted;
use crate::database::Table;
use crate::key::Keys;
use crate::settings::{Database, Redis, SettingsError};
use crate::store::StoreError;

/// The version of an image that says none.
const UNVERSIONED: &str = "0.0.0";

/// The application that it stands in for.
pub struct Application {
    version: String,
    requests: AtomicU64,
    postgres: Option<Table>,
    redis: Option<Keys>,
    /// Over a connection of its own: who waits for replicas does not hold up the others.
    confirmed: Option<Keys>,
    kept: Counted,
}

type Answer = Result<String, (StatusCode, String)>;

impl Application {
    /// With the stores that the environment tells of.
    pub fn from_environment() -> Result<Self, SettingsError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let redis = Redis::read(variable)?;
        Ok(Self {
            version: variable("STANDIN_VERSION").unwrap_or_else(|| UNVERSIONED.to_owned()),
            requests: AtomicU64::default(),
            postgres: Database::read(variable)?.as_ref().map(Table::of),
            redis: redis.as_ref().map(Keys::of),
            confirmed: redis.as_ref().map(Keys::of),
            kept: Counted::default(),
        })
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    async fn about(&self) -> Value {
        let mut stores = serde_json::Map::new();
        if let Some(table) = &self.postgres {
            stores.insert("postgres".to_owned(), told(table.version().await));
        }
        if let Some(keys) = &self.redis {
            stores.insert("redis".to_owned(), told(keys.version().await));
        }
        json!({
            "version": self.version,
            "requests": self.requests.load(Ordering::Relaxed),
            "kept": self.kept.numbers(),
            "stores": stores,
        })
    }
}

fn told(version: Result<String, StoreError>) -> Value {
    match version {
        Ok(version) => json!({ "version": version }),
        Err(error) => json!({ "error": error.to_string() }),
    }
}

/// All paths.
pub fn router(application: Arc<Application>) -> Router {
    Router::new()
        .route("/standin", get(about))
        .route("/standin/{store}", post(missing))
        .route("/standin/{store}/{key}", post(keep))
        .fallback(anything)
        .with_state(application)
}

async fn about(State(application): State<Arc<Application>>) -> String {
    application.about().await.to_string()
}

async fn anything(State(application): State<Arc<Application>>) -> String {
    application.requests.fetch_add(1, Ordering::Relaxed);
    format!("{}\n", application.version)
}

async fn keep(
    State(application): State<Arc<Application>>,
    Path((store, key)): Path<(String, String)>,
) -> Answer {
    let result = match (store.as_str(), &application.postgres, &application.redis, &application.confirmed) {
        ("postgres", Some(table), _, _) => table.keep(&key).await,
        ("redis", _, Some(keys), _) => keys.keep(&key).await,
        ("redis-confirmed", _, _, Some(keys)) => keys.keep_confirmed(&key).await,
        _ => return Err(unknown(&store)),
    };
    application.kept.pass(result).map(|()| String::new()).map_err(|error| failed(&error))
}

async fn missing(
    State(application): State<Arc<Application>>,
    Path(store): Path<String>,
    body: String,
) -> Answer {
    let wanted: Vec<String> = body.lines().map(str::to_owned).collect();
    let missing = match (store.as_str(), &application.postgres, &application.redis) {
        ("postgres", Some(table), _) => table.missing(&wanted).await,
        ("redis" | "redis-confirmed", _, Some(keys)) => keys.missing(&wanted).await,
        _ => return Err(unknown(&store)),
    };
    missing.map(|keys| keys.join("\n")).map_err(|error| failed(&error))
}

fn unknown(store: &str) -> (StatusCode, String) {
    (StatusCode::NOT_FOUND, format!("the environment tells of no store {store}"))
}

fn failed(error: &StoreError) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}
