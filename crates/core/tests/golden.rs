//! Every object that the examples become in each environment, and what each kind of store becomes,
//! as files of `tests/golden`.
//!
//! `cargo xtask generate` rewrites them; what changed is then read in the diff of the commit.

#![allow(clippy::unwrap_used)] // a test ends where its files can't be read

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ffi::OsString,
    fmt::Write,
    fs,
    path::Path,
};

use serde_json::Value;
use support::{platform_of, rendered, repository};

const INPUT: &str = "input.yaml";
const COMMAND: &str = "cargo xtask generate";
/// Lines of a difference that are shown on each side.
const SHOWN: usize = 8;

/// `<example>/<environment>` for every folder in `tests/golden`.
fn environments() -> Vec<String> {
    let names = |path: &str| -> Vec<String> {
        let entries = fs::read_dir(repository(path)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let mut found: Vec<String> = names("tests/golden")
        .into_iter()
        .flat_map(|example| {
            let environments = names(&format!("tests/golden/{example}"));
            environments.into_iter().map(move |environment| format!("{example}/{environment}"))
        })
        .collect();
    found.sort();
    found
}

#[test]
fn every_environment_of_every_example_is_rendered_as_before() {
    let folders = environments();
    assert!(folders.len() >= 3, "{folders:?}");
    let mut all = String::new();
    for environment in folders {
        let wished = files(&environment);
        let folder = format!("tests/golden/{environment}");
        if env::var_os("UPDATE_GOLDEN").is_some() {
            update(&repository(&folder), &wished);
        } else {
            all += &differences(&folder, &wished);
        }
    }
    assert!(
        all.is_empty(),
        "rendered differently (- in the file, + rendered):\n\n{all}If that is wanted: {COMMAND}\n"
    );
}

/// File name to content.
fn files(environment: &str) -> BTreeMap<String, String> {
    let (plan, objects) = rendered(&platform_of(environment));
    let count = objects.len();
    let files: BTreeMap<String, String> = objects
        .iter()
        .map(|object| {
            let kind = object.kind.to_string().to_lowercase();
            let is_home = object.namespace == plan.identity.namespace;
            let folder = if is_home { String::new() } else { format!("{}.", object.namespace) };
            let name = format!("{kind}-{folder}{}.yaml", object.name);
            (name, serde_yaml::to_string(&sorted(&object.body)).unwrap())
        })
        .collect();
    assert_eq!(files.len(), count, "two objects of one kind and name");
    files
}

/// With the keys in order, whatever the features of `serde_json` are in this build.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<&String, Value> =
                map.iter().map(|(key, value)| (key, sorted(value))).collect();
            ordered.into_iter().map(|(key, value)| (key.clone(), value)).collect()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        scalar => scalar.clone(),
    }
}

fn update(folder: &Path, wished: &BTreeMap<String, String>) {
    for name in present(folder).iter().filter(|name| !wished.contains_key(*name)) {
        fs::remove_file(folder.join(name)).unwrap();
    }
    for (name, content) in wished {
        fs::write(folder.join(name), content).unwrap();
    }
}

/// Golden files that are there.
fn present(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name != INPUT)
        .map(OsString::into_string)
        .map(Result::unwrap)
        .collect()
}

fn differences(folder: &str, wished: &BTreeMap<String, String>) -> String {
    let here = repository(folder);
    let mut text = String::new();
    for name in present(&here).iter().filter(|name| !wished.contains_key(*name)) {
        writeln!(text, "{folder}/{name}: the object is no longer rendered\n").unwrap();
    }
    for (name, content) in wished {
        match fs::read_to_string(here.join(name)) {
            Err(_) => writeln!(text, "{folder}/{name}: no file for a rendered object\n").unwrap(),
            Ok(golden) if golden != *content => {
                writeln!(text, "{folder}/{name}:{}", first_lines(&golden, content)).unwrap();
            }
            Ok(_) => {}
        }
    }
    text
}

/// The number of the first line that differs, and the lines up to where both agree again.
fn first_lines(golden: &str, rendered: &str) -> String {
    let (golden, rendered): (Vec<&str>, Vec<&str>) = (golden.lines().collect(), rendered.lines().collect());
    let both = golden.len().min(rendered.len());
    let start = (0..both).find(|&i| golden[i] != rendered[i]).unwrap_or(both);
    let end = (0..both - start)
        .find(|i| golden[golden.len() - 1 - i] != rendered[rendered.len() - 1 - i])
        .unwrap_or(both - start);
    let mut text = format!("{}\n", start + 1);
    for (mark, lines) in [('-', &golden), ('+', &rendered)] {
        let differing = &lines[start..lines.len() - end];
        for line in differing.iter().take(SHOWN) {
            writeln!(text, "  {mark} {line}").unwrap();
        }
        if differing.len() > SHOWN {
            writeln!(text, "  {mark} … {} more lines", differing.len() - SHOWN).unwrap();
        }
    }
    text
}

#[test]
fn a_difference_shows_the_lines_that_differ() {
    assert_eq!(first_lines("a\nb\nc\nd\n", "a\nx\ny\nd\n"), "2\n  - b\n  - c\n  + x\n  + y\n");
    assert_eq!(first_lines("a\nb\n", "a\n"), "2\n  - b\n");
    assert_eq!(first_lines("a\n", "a\na\n"), "2\n  + a\n");
}
