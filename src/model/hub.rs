//! Models from a Hugging Face hub, by way of the `hf-hub` client, kept in its cache layout.

use super::ModelError;
use super::folder::FILES;
use crate::config::ModelConfig;
use hf_hub::api::Progress;
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo};
use indicatif::ProgressBar;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// How long the hub may be silent: the client itself would wait for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// Folder of the repository `owner/name`, downloaded from `config.hub` unless it is in `config.cache_dir`
/// already: what is there is used as it is, and newer versions are not looked for. The environment variable
/// `HF_TOKEN` opens private repositories. Progress is shown on stderr where that is a terminal.
pub(super) fn fetch(repository: &str, config: &ModelConfig) -> Result<PathBuf, ModelError> {
    let hub = Hub {
        repository,
        address: config.hub.trim_end_matches('/'),
        cache_dir: &config.cache_dir,
    };
    hub.fetch(PATIENCE)
}

struct Hub<'a> {
    repository: &'a str,
    address: &'a str,
    cache_dir: &'a Path,
}

impl Hub<'_> {
    fn fetch(&self, patience: Duration) -> Result<PathBuf, ModelError> {
        if !is_repository(self.repository) {
            return Err(self.error("not of the form hub:owner/name".into(), false));
        }
        let cache = Cache::new(self.cache_dir.to_owned());
        if let Some(folder) = cached(&cache.model(self.repository.to_owned())) {
            return Ok(folder);
        }
        let api = ApiBuilder::from_cache(cache)
            .with_endpoint(self.address.to_owned())
            .with_token(std::env::var("HF_TOKEN").ok())
            .build()
            .map_err(|e| self.explain(e))?;
        let remote = api.model(self.repository.to_owned());

        let (alive, signs_of_life) = sync_channel(1);
        let download = thread::spawn(move || download(&remote, &alive));
        loop {
            match signs_of_life.recv_timeout(patience) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let problem = format!(
                        "{} has been silent for {patience:?}: try again later, or check model.hub",
                        self.address
                    );
                    return Err(self.error(problem, true));
                }
            }
        }
        match download.join() {
            Ok(Ok(Some(folder))) => Ok(folder),
            Ok(Ok(None)) => {
                Err(self.error("it changed while it was downloaded: try again".into(), true))
            }
            Ok(Err(e)) => Err(self.explain(e)),
            Err(_) => Err(self.error(self.no_hub("its answer makes no sense"), false)),
        }
    }

    fn error(&self, problem: String, retryable: bool) -> ModelError {
        ModelError::Hub {
            repository: self.repository.to_owned(),
            problem,
            retryable,
        }
    }

    fn no_hub(&self, why: &str) -> String {
        format!(
            "{} does not answer as a Hugging Face hub ({why}): check model.hub",
            self.address
        )
    }

    /// What to do about a failure. The client's HTTP library is not ours to name, so the status is read from
    /// its message.
    fn explain(&self, error: ApiError) -> ModelError {
        let message = error.to_string();
        let status = message
            .rsplit_once("http status: ")
            .and_then(|(_, status)| status.parse::<u16>().ok());
        let in_the_way = format!(
            "a download that was broken off is in the way: remove {}",
            self.cache_dir.display()
        );
        let (problem, retryable) = match (&error, status) {
            (_, Some(401 | 403 | 404)) => (
                format!(
                    "{} has no such model, or a file is missing in it, or it is private: check model.source, set HF_TOKEN for a private one",
                    self.address
                ),
                false,
            ),
            (ApiError::InvalidResume, _) | (_, Some(416)) => (in_the_way, false),
            (ApiError::RequestError(_), _) => {
                let refused = matches!(status, Some(400..500)) && !matches!(status, Some(408 | 429));
                (
                    format!(
                        "{}: {message}: check model.hub and the network, or copy the model into a folder",
                        self.address
                    ),
                    !refused,
                )
            }
            (ApiError::LockAcquisition(_), _) => (
                "another process is downloading it: try again when it is done".into(),
                true,
            ),
            (ApiError::IoError(e), _) => {
                use ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem, StorageFull};
                let disk = matches!(
                    e.kind(),
                    NotFound | PermissionDenied | ReadOnlyFilesystem | StorageFull
                );
                (
                    format!(
                        "{message}: check the network, and that {} can be written",
                        self.cache_dir.display()
                    ),
                    !disk,
                )
            }
            _ => (self.no_hub(&message), false),
        };
        self.error(problem, retryable)
    }
}

/// Whether a text is `owner/name`, of the characters a hub allows: it becomes part of paths and addresses.
fn is_repository(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    matches!(text.split_once('/'), Some((owner, name)) if part(owner) && part(name))
}

/// Folder of a repository that is in the cache, whole.
fn cached(repository: &CacheRepo) -> Option<PathBuf> {
    let [config, tokenizer, weights] = FILES.map(|file| repository.get(file));
    config.and(tokenizer).and(weights)?.parent().map(PathBuf::from)
}

/// Downloads the files, the largest last; none when they came from different commits.
fn download(repository: &ApiRepo, alive: &SyncSender<()>) -> Result<Option<PathBuf>, ApiError> {
    let mut folders = Vec::new();
    for file in FILES {
        let watched = Watched {
            bar: ProgressBar::new(0),
            alive: alive.clone(),
        };
        let path = repository.download_with_progress(file, watched)?;
        folders.push(path.parent().map(PathBuf::from));
    }
    folders.dedup();
    Ok(folders.pop().filter(|_| folders.is_empty()).flatten())
}

/// Shows progress, and tells whoever waits that there is some.
struct Watched {
    bar: ProgressBar,
    alive: SyncSender<()>,
}

impl Progress for Watched {
    fn init(&mut self, size: usize, file: &str) {
        Progress::init(&mut self.bar, size, file);
    }

    fn update(&mut self, size: usize) {
        // A full channel says the same.
        let _ = self.alive.try_send(());
        Progress::update(&mut self.bar, size);
    }

    fn finish(&mut self) {
        Progress::finish(&mut self.bar);
    }
}
