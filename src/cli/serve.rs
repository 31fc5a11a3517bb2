//! `assay serve`

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http_body_util::{Either, Full, channel::Channel};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore},
};

use super::{
    CliError, WorkspaceArg, diff, print,
    runs::{all_runs, date, state},
};
use crate::{
    analysis::{MeanDifference, Request as Asked, collect},
    base::{
        exit::Exit,
        file_names::{file_names, stays_inside},
        files::{read_json, read_own},
        hash::Digest,
        output::OutputDir,
        terminal::tell,
    },
    core::{RunRecord, Workspace},
    report::{
        DiffRow, INDEX, LiveDiff, LiveExperiment, LivePage, LiveRun, LiveState, also_for_tables,
        live_page, live_policy, render,
    },
    tasks::ExperimentRecord,
};

/// Connections at a time; others wait.
const MOST_CONNECTIONS: usize = 64;
/// How often the workspace is looked at for a page that is open.
const EVERY: Duration = Duration::from_secs(1);
/// Seconds after which a page that is open hears something, so that a lost connection is noticed.
const ALIVE: u32 = 15;
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);
/// Runs of the list, the newest.
const MOST_RUNS: usize = 200;

/// Show the workspace in a browser: experiments, runs, what differs between them, reports
///
/// The pages are read-only: nothing starts or changes a run, and nothing is written to the workspace. Only this machine can
/// reach them, and only by its own names (127.0.0.1, localhost). Progress of a run is shown while it runs. Ctrl-C ends it.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay serve
  assay serve --workspace bundle/workspace --port 9000
  ssh -L 8642:127.0.0.1:8642 gpu-server      then open http://127.0.0.1:8642/ here")]
pub struct Serve {
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// The port; 0 takes one that is free
    #[arg(long, value_name = "N", default_value_t = 8642)]
    port: u16,
}

impl Serve {
    pub fn run(self) -> Result<Exit, CliError> {
        let workspace = self.workspace.open().read_only();
        if !workspace.root().is_dir() {
            return Err(CliError::Usage(format!(
                "{}: there is no such workspace\n  = help: `assay run` makes one; name another with `--workspace DIR`",
                workspace.root().display()
            )));
        }
        // Reports are written here, because the workspace is only read.
        let reports = tempfile::tempdir()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = Arc::new(Notify::new());
        let of_handler = stop.clone();
        if let Err(error) = ctrlc::set_handler(move || of_handler.notify_one()) {
            tell!("warning: Ctrl-C ends the program with another exit code: {error}");
        }
        let ended = runtime.block_on(serve(workspace, self.port, reports.path(), stop));
        // A report that is being written does not hold up the end.
        runtime.shutdown_background();
        ended.map(|()| Exit::Pass)
    }
}

type Body = Either<Full<Bytes>, Channel<Bytes>>;

async fn serve(
    workspace: Workspace,
    port: u16,
    reports: &Path,
    stop: Arc<Notify>,
) -> Result<(), CliError> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let listener = listener.await.map_err(|error| {
        CliError::Usage(format!(
            "--port {port}: {error}\n  = help: `--port 0` takes one that is free"
        ))
    })?;
    let port = listener.local_addr()?.port();
    print(&format!("http://127.0.0.1:{port}/\n"))?;
    tell!("serving {}; Ctrl-C ends it", workspace.root().display());
    let site = Arc::new(Site {
        workspace,
        port,
        reports: reports.to_owned(),
        written: Mutex::new(HashMap::new()),
    });
    let connections = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = stop.notified() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        // An error of one connection, or no file descriptor is left for now.
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(permit) = connections.clone().acquire_owned().await else { return Ok(()) };
        let site = site.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let site = site.clone();
                async move { Ok::<_, Infallible>(site.answer(request).await) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD);
            // A connection that breaks off is no concern of others.
            let _ = http.serve_connection(TokioIo::new(stream), answer).await;
            drop(permit);
        });
    }
}

/// What is served.
struct Site {
    workspace: Workspace,
    port: u16,
    reports: PathBuf,
    /// By experiment: of which state of the workspace its report is, and its files.
    written: Mutex<HashMap<String, (Digest, BTreeSet<String>)>>,
}

impl Site {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        if !self.is_own_host(&request) {
            return plain(
                StatusCode::MISDIRECTED_REQUEST,
                "this server answers to 127.0.0.1 and localhost only\n",
            );
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "this server only reads\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let path = request.uri().path().to_owned();
        if path == "/events" {
            return self.events();
        }
        let query = request.uri().query().unwrap_or_default().to_owned();
        let site = self.clone();
        let answer = tokio::task::spawn_blocking(move || site.page(&path, &query));
        answer.await.unwrap_or_else(|_| {
            plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error: the page cannot be made\n")
        })
    }

    /// Whether the request is to a name of this machine: a page of another site may have made its name point here.
    fn is_own_host(&self, request: &Request<Incoming>) -> bool {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let names = ["127.0.0.1", "localhost"];
        host.is_some_and(|host| names.iter().any(|name| host == format!("{name}:{}", self.port)))
    }

    /// The state of the workspace, again whenever it changes.
    fn events(self: Arc<Self>) -> Response<Body> {
        let (mut sender, body) = Channel::<Bytes>::new(1);
        tokio::spawn(async move {
            let (mut last, mut silent) = (None, 0);
            loop {
                let site = self.clone();
                let now = tokio::task::spawn_blocking(move || site.state()).await;
                let Ok(now) = now else { return };
                silent += 1;
                if last.as_ref() != Some(&now) {
                    let text = serde_json::to_string(&now).unwrap_or_default();
                    if sender.send_data(format!("data: {text}\n\n").into()).await.is_err() {
                        return;
                    }
                    (last, silent) = (Some(now), 0);
                } else if silent >= ALIVE {
                    if sender.send_data(":\n\n".into()).await.is_err() {
                        return;
                    }
                    silent = 0;
                }
                tokio::time::sleep(EVERY).await;
            }
        });
        let mut response = Response::new(Either::Right(body));
        let policy = live_policy();
        head(response.headers_mut(), "text/event-stream", &policy);
        response
    }

    fn page(&self, path: &str, query: &str) -> Response<Body> {
        let (status, title, page) = match path {
            "/" => (StatusCode::OK, "Workspace".to_owned(), LivePage::State(self.state())),
            "/diff" => match self.diff(query) {
                Ok(diff) => (StatusCode::OK, "What differs".into(), LivePage::Diff(Box::new(diff))),
                Err(problem) => {
                    (StatusCode::BAD_REQUEST, "What differs".into(), LivePage::Problem(problem))
                }
            },
            _ => match path.strip_prefix("/report/").and_then(|rest| rest.split_once('/')) {
                Some((name, file)) => match self.report(name, file) {
                    Ok(Some(response)) => return response,
                    Ok(None) => not_found(),
                    Err(problem) => (
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "No report".into(),
                        LivePage::Problem(problem),
                    ),
                },
                None => not_found(),
            },
        };
        match live_page(&title, &page) {
            Ok(html) => {
                let mut response = Response::new(Either::Left(Full::from(html)));
                *response.status_mut() = status;
                head(response.headers_mut(), "text/html; charset=utf-8", &live_policy());
                response
            }
            Err(error) => {
                plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("internal error: {error}\n"))
            }
        }
    }

    /// Runs whose names, from which paths are made, stay in the workspace: it may be of others.
    fn runs(&self) -> Vec<RunRecord> {
        let is_name = |name: &str| stays_inside(name) && !name.contains('/');
        let mut runs = all_runs(&self.workspace);
        runs.retain(|run| is_name(&run.run) && is_name(run.slot()));
        runs
    }

    fn state(&self) -> LiveState {
        let runs = self.runs();
        let mut last: BTreeMap<&str, (usize, &RunRecord)> = BTreeMap::new();
        for run in &runs {
            let count = last.get(run.slot()).map_or(0, |(count, _)| *count);
            last.insert(run.slot(), (count + 1, run));
        }
        let names = self.names(&runs);
        let experiments = last.iter().map(|(slot, (count, run))| {
            let record = ExperimentRecord::read(&self.workspace, slot).ok();
            let exists = |at: &usize| {
                let step = record.as_ref().map(|of| &of.steps[*at]);
                step.is_some_and(|step| self.workspace.exists(&step.kind, &step.key))
            };
            let steps = record.as_ref().map_or(0, |of| of.steps.len());
            let has_result = record
                .as_ref()
                .is_some_and(|of| of.trials.iter().any(|trial| exists(&trial.evaluate)));
            LiveExperiment {
                slot: (*slot).to_owned(),
                file: run.file.clone(),
                runs: *count,
                started: date(run),
                state: live_state(run),
                done: (0..steps).filter(exists).count(),
                steps,
                report: names
                    .iter()
                    .find(|(_, of)| of == slot && has_result)
                    .map(|(name, _)| format!("/report/{name}/{INDEX}")),
            }
        });
        LiveState {
            experiments: experiments.collect(),
            runs: runs.iter().rev().take(MOST_RUNS).map(view).collect(),
        }
    }

    /// The names of experiments in paths.
    fn names(&self, runs: &[RunRecord]) -> Vec<(String, String)> {
        let slots: BTreeSet<String> = runs.iter().map(|run| run.slot().to_owned()).collect();
        let slots: Vec<String> = slots.into_iter().collect();
        file_names(&slots).into_iter().zip(slots).collect()
    }

    fn diff(&self, query: &str) -> Result<LiveDiff, String> {
        let runs = self.runs();
        let chosen = |what: &str| -> Result<&RunRecord, String> {
            let pair = query.split('&').find_map(|pair| pair.strip_prefix(what)?.strip_prefix('='));
            let name = pair.ok_or_else(|| format!("No {what} run is chosen."))?;
            let run = runs.iter().find(|run| run.run == name);
            run.ok_or_else(|| format!("The workspace has no run {name}."))
        };
        let (first, second) = (chosen("first")?, chosen("second")?);
        let means = [first, second].map(|run| diff::means(&self.workspace, run));
        let (means, rows) = match &means {
            [Some(of_first), Some(of_second)] => {
                let all = MeanDifference::all(of_first, of_second);
                let text = match all.len() {
                    0 => format!("All {} means are equal.", of_first.len()),
                    n => format!("{n} of {} means differ.", of_first.len()),
                };
                (text, all.iter().map(row).collect())
            }
            _ => {
                let of_no_means = "No means are recorded of one of them: it was interrupted, had no result, or is of an \
                                   earlier version.";
                (of_no_means.to_owned(), Vec::new())
            }
        };
        let inputs = diff::inputs(first, second).into_iter();
        Ok(LiveDiff {
            first: view(first),
            second: view(second),
            inputs: inputs.map(|(kind, changes)| (kind.to_owned(), changes)).collect(),
            means,
            rows,
        })
    }

    /// A file of the report of an experiment, which is written again if the results have changed. Only files that the
    /// report consists of are read, whatever the path says.
    fn report(&self, name: &str, file: &str) -> Result<Option<Response<Body>>, String> {
        let names = self.names(&self.runs());
        let Some((name, slot)) = names.into_iter().find(|(of, _)| of == name) else {
            return Ok(None);
        };
        let dir = self.reports.join(&name);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let is_page = file.is_empty() || file == INDEX;
        if is_page || !written.contains_key(&slot) {
            let record = ExperimentRecord::read(&self.workspace, &slot)
                .map_err(|error| error.to_string())?;
            let now = self.state_of(&record);
            if written.get(&slot).is_none_or(|(of, _)| *of != now) {
                let files = self.write(&record, &dir)?;
                written.insert(slot.clone(), (now, files));
            }
        }
        let file = if file.is_empty() { INDEX } else { file };
        if !written.get(&slot).is_some_and(|(_, files)| files.contains(file)) {
            return Ok(None);
        }
        let bytes = read_own(&dir.join(file)).map_err(|error| error.to_string())?;
        let mut response = Response::new(Either::Left(Full::from(bytes)));
        let kind = kind_of(file);
        // The page has its own policy, with the hash of its script.
        let policy = match kind.starts_with("text/html") {
            true => "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
            false => "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        };
        head(response.headers_mut(), kind, policy);
        Ok(Some(response))
    }

    /// Of which results a report is.
    fn state_of(&self, record: &ExperimentRecord) -> Digest {
        let steps = record.steps.iter().map(|step| {
            let path = self.workspace.step_dir(&step.kind, &step.key).join(crate::core::RECORD);
            std::fs::metadata(path).and_then(|file| file.modified()).ok()
        });
        let steps: Vec<_> = steps.collect();
        Digest::of(format!("{steps:?} {}", Digest::of_json(record)))
    }

    fn write(&self, record: &ExperimentRecord, dir: &Path) -> Result<BTreeSet<String>, String> {
        let mut request = Asked::of_report(record);
        also_for_tables(&mut request, record);
        let collected =
            collect(record, &self.workspace, &request).map_err(|error| error.to_string())?;
        if collected.rows.is_empty() {
            return Err("The experiment has no current result.".into());
        }
        let path = self.workspace.path(&["experiments", record.slot(), "run.json"]);
        let last: Option<RunRecord> = read_json(&path).ok();
        let out = OutputDir::open(dir, INDEX, true).map_err(|error| error.to_string())?;
        let rendered = render(record, &self.workspace, &collected, last.as_ref(), false, out)
            .map_err(|error| error.to_string())?;
        let below = |path: &PathBuf| {
            Some(path.strip_prefix(dir).ok()?.to_string_lossy().replace('\\', "/"))
        };
        Ok(rendered.files.iter().filter_map(below).collect())
    }
}

fn not_found() -> (StatusCode, String, LivePage) {
    let problem = "There is no such page.".to_owned();
    (StatusCode::NOT_FOUND, "Not found".into(), LivePage::Problem(problem))
}

fn row(of: &MeanDifference) -> DiffRow {
    let value = |mean: &Option<crate::analysis::RunMean>| match mean.as_ref().map(|of| of.value) {
        Some(Some(value)) => format!("{value:.6}"),
        Some(None) => "no user".into(),
        None => "not computed".into(),
    };
    let both = of.first.as_ref().zip(of.second.as_ref());
    let difference = both.and_then(|(a, b)| Some(b.value? - a.value?));
    let note = both.map_or(String::new(), |(a, b)| match a.fingerprint != b.fingerprint {
        true => "not comparable: other fingerprint".into(),
        false if a.n_users != b.n_users => format!("users {} → {}", a.n_users, b.n_users),
        false => String::new(),
    });
    DiffRow {
        label: of.label.clone(),
        first: value(&of.first),
        second: value(&of.second),
        difference: difference.map_or(String::new(), |of| format!("{of:+.6}")),
        note,
    }
}

fn view(run: &RunRecord) -> LiveRun {
    LiveRun {
        run: run.run.clone(),
        slot: run.slot().to_owned(),
        started: date(run),
        seconds: format!("{:.1}", run.wall_seconds),
        steps_run: run.steps_done,
        reused: run.steps_reused,
        state: live_state(run),
    }
}

/// How a run ended, or that it has not.
fn live_state(run: &RunRecord) -> String {
    match !run.finished && is_running(run) {
        true => "running".to_owned(),
        false => state(run),
    }
}

/// Whether the process of a run is still there: the name of a run ends in its number.
fn is_running(run: &RunRecord) -> bool {
    let here = sysinfo::System::host_name().unwrap_or_default() == run.machine.host;
    let process = run.run.rsplit_once('-').and_then(|(_, id)| id.parse::<u32>().ok());
    here && process.is_some_and(|id| Path::new(&format!("/proc/{id}")).exists())
}

fn kind_of(file: &str) -> &'static str {
    match file.rsplit_once('.').map_or("", |(_, end)| end) {
        "html" => "text/html; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "pdf" => "application/pdf",
        "json" => "application/json",
        "csv" => "text/csv; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::from(text.to_owned())));
    *response.status_mut() = status;
    head(response.headers_mut(), "text/plain; charset=utf-8", "default-src 'none'");
    response
}

fn head(headers: &mut hyper::HeaderMap, kind: &'static str, policy: &str) {
    let policy = HeaderValue::from_str(policy);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        // invariant: policies are written here, in ASCII
        policy.unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'")),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
