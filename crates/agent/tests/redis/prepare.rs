//! `prepare`: what it writes, with which mode, and what it refuses.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::{Outcome, Scratch, agent};

fn mode(path: &Path) -> u32 {
    let metadata = fs::metadata(path).expect("the file is there");
    metadata.permissions().mode() & 0o7777
}

#[test]
fn writes_configuration_and_program() {
    let scratch = Scratch::new();
    let mut prepare = scratch.prepare_with("port 6379\ncluster-enabled yes", OsStr::new("hunter\"2"));
    prepare.env("POD_IP", "10.0.0.9");

    // A pod's init container may run again over what it left.
    for _ in 0..2 {
        let outcome = Outcome::of(&mut prepare);
        outcome.succeeds();
        assert!(!outcome.stdout.contains("hunter"), "{}", outcome.stdout);
        assert_eq!(
            fs::read_to_string(scratch.file("redis.conf")).expect("written"),
            "port 6379\ncluster-enabled yes\nrequirepass \"hunter\\\"2\"\n\
             masterauth \"hunter\\\"2\"\ncluster-announce-ip 10.0.0.9\n"
        );
    }
    assert_eq!(mode(&scratch.file("redis.conf")), 0o600);
    assert_eq!(mode(&scratch.file("trading-agent")), 0o755);
    let left: Vec<_> = fs::read_dir(scratch.path()).expect("the directory is there").collect();
    assert_eq!(left.len(), 4, "nothing but the three files, and the Secret: {left:?}");

    let version =
        Command::new(scratch.file("trading-agent")).arg("--version").output().expect("the copy starts");
    assert!(version.status.success());
}

#[test]
fn modes_do_not_depend_on_the_umask_or_on_leftovers() {
    let scratch = Scratch::new();
    // What a run that was killed leaves behind.
    fs::write(scratch.file(".redis.conf.new"), "half").expect("written");
    let prepare = scratch.prepare_with("port 1", OsStr::new("s"));
    for (umask, old_mode) in [("077", 0o644), ("000", 0o666)] {
        fs::write(scratch.file("redis.conf"), "old").expect("written");
        fs::set_permissions(scratch.file("redis.conf"), fs::Permissions::from_mode(old_mode))
            .expect("the mode can be set");
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")])
            .arg(prepare.get_program())
            .args(prepare.get_args());
        Outcome::of(&mut shell).succeeds();
        assert_eq!(mode(&scratch.file("redis.conf")), 0o600);
        assert_eq!(mode(&scratch.file("trading-agent")), 0o755);
    }
}

#[test]
fn refuses_what_is_missing_or_not_its_own() {
    for (template, password, pod_ip, reason) in [
        ("port 1", None, None, "the password is absent or empty"),
        ("port 1", Some(""), None, "the password is absent or empty"),
        ("port 1\nrequirepass x", Some("hunter2"), None, "line 2 of the template has `requirepass`"),
        ("cluster-enabled yes", Some("hunter2"), None, "POD_IP is absent or empty"),
        ("cluster-enabled yes", Some("hunter2"), Some("redis-0"), "POD_IP is not an IP address"),
    ] {
        let scratch = Scratch::new();
        let mut prepare = match password {
            Some(password) => scratch.prepare_with(template, OsStr::new(password)),
            None => scratch.prepare(template),
        };
        prepare.envs(pod_ip.map(|it| ("POD_IP", it)));
        let outcome = Outcome::of(&mut prepare);
        outcome.fails_with(reason);
        assert!(!outcome.stderr.contains("hunter2"), "{}", outcome.stderr);
        assert!(!scratch.file("redis.conf").exists(), "{reason}");
        assert!(!scratch.file("trading-agent").exists(), "{reason}");
    }
}

#[test]
fn says_which_file_it_could_not_use() {
    let scratch = Scratch::new();
    let here = scratch.path().display();
    let missing = format!("{here}/none/file");
    let [template, output, binary] = ["template", "output", "binary"].map(|it| format!("{here}/{it}"));
    fs::write(&template, "").expect("written");
    for (template, output, binary, reason) in [
        (&missing, &output, &binary, "cannot read the template"),
        (&template, &missing, &binary, "cannot write"),
        (&template, &output, &missing, "cannot write"),
    ] {
        let outcome = Outcome::of(&mut agent(&[
            "prepare",
            "--template",
            template,
            "--output",
            output,
            "--binary",
            binary,
        ]));
        outcome.fails_with(&format!("{reason} {missing}: No such file"));
    }
}
