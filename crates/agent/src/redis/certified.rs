//! Certified stage, I/O: the server has the newest certificate that is one, while it runs; a Sentinel, which can't
//! be told, starts anew for it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::link::{Link, LinkError};
use super::password::Passwords;
use crate::said::Said;
use crate::tls::{CERTIFICATE, Identity};
use crate::with_causes;

/// Between looks.
const PAUSE: Duration = Duration::from_secs(5);
/// Time for the server to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Minutes between the starts of Sentinels, so that a majority is there: kubelets bring the files up to two apart.
const APART: u32 = 3;

/// What has the certificate.
pub struct Certified {
    /// Folder with it.
    pub folder: PathBuf,
    /// Where the server is reached.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
    /// What it takes.
    pub passwords: Passwords,
}

impl Certified {
    /// Has the server read its files again whenever there is another certificate.
    pub fn tend_server(self, mut known: Option<Identity>) {
        let (mut of_files, mut of_server) = (Said::default(), Said::default());
        loop {
            thread::sleep(PAUSE);
            let Some(found) = other(&self.folder, known.as_ref(), &mut of_files) else { continue };
            let news = match self.take_up() {
                Ok(()) => {
                    println!("certificate: it is another one");
                    known = Some(found);
                    String::new()
                }
                Err(error) => format!("the new one is not taken yet: {}", with_causes(&error)),
            };
            of_server.once("certificate", news);
        }
    }

    /// Waits for another certificate, and for the turn of the Sentinel of this pod to end.
    pub fn outlive(self, known: Option<&Identity>, pod: &str) {
        let mut said = Said::default();
        while other(&self.folder, known, &mut said).is_none() {
            thread::sleep(PAUSE);
        }
        let turn = pod.rsplit('-').next().and_then(|number| number.parse::<u32>().ok()).unwrap_or_default();
        let minutes = APART * turn;
        println!("certificate: it is another one, with which this Sentinel starts in {minutes} minutes");
        thread::sleep(Duration::from_mins(minutes.into()));
    }

    /// Redis reads the key and the authorities with it, though the name stays the same.
    fn take_up(&self) -> Result<(), LinkError> {
        let file = self.folder.join(CERTIFICATE).display().to_string();
        let mut link = Link::open(self.ip, self.port, &self.passwords, PATIENCE)?;
        link.order("CONFIG SET", &["CONFIG", "SET", "tls-cert-file", &file])
    }
}

/// The certificate, where it is not the known one.
fn other(folder: &Path, known: Option<&Identity>, said: &mut Said) -> Option<Identity> {
    match Identity::read(folder) {
        Ok(found) => {
            said.once("certificate", String::new());
            Some(found).filter(|found| known != Some(found))
        }
        Err(error) => {
            said.once("certificate", format!("it stays as it was: {}", with_causes(&error)));
            None
        }
    }
}
