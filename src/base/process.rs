//! Programs of an experiment: started without a shell, with limits, and ended together with all their processes.
//!
//! A program runs in its own process group. A small watcher process kills the group if assay dies, even by SIGKILL: it waits
//! for the end of a pipe that only assay keeps open.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::OsString,
    fs,
    io::{self, PipeReader, Read, Write},
    os::{
        fd::{AsRawFd, RawFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use super::{
    interrupt::{Interrupt, Interrupted},
    terminal::{escaped, on_one_line},
};

/// How often limits and the interrupt flag are checked.
const TICK: Duration = Duration::from_millis(100);
/// Maximum wait for output after the end: a process that left the group may keep the pipe open.
const DRAIN: Duration = Duration::from_secs(2);
/// Maximum size of a line of output in bytes.
const MOST_OF_LINE: usize = 2000;
/// Maximum number of lines that are passed on.
const MOST_LINES: usize = 20_000;
/// Number of lines in an error.
const SHOWN_LINES: usize = 20;

/// A program to run.
pub struct Program<'a> {
    /// Its path.
    pub path: &'a Path,
    pub arguments: &'a [OsString],
    pub directory: &'a Path,
    /// Variables in addition to those of this process.
    pub variables: &'a [(&'a str, String)],
    pub timeout: Option<Duration>,
    /// Maximum resident memory of the program and its processes in bytes.
    pub memory: Option<u64>,
}

/// Resources used by a program.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    pub cpu_seconds: f64,
    /// Peak memory of its largest process.
    pub peak_memory_bytes: u64,
}

/// Why a program did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error("cannot run {}: {source}", program.display())]
    Start { program: PathBuf, source: io::Error },
    #[error("{how}{}", lines(.last))]
    Failed { how: String, last: Vec<String> },
}

fn lines(last: &[String]) -> String {
    match last {
        [] => "; it printed nothing".into(),
        [only] => format!("; its output:\n    {}", on_one_line(only)),
        all => {
            let text: Vec<String> = all.iter().map(|line| on_one_line(line)).collect();
            format!("; the end of its output:\n    {}", text.join("\n    "))
        }
    }
}

/// Runs a program until it ends; `line` receives each line of its output, escaped.
pub fn run(
    program: &Program,
    interrupt: &Interrupt,
    line: &mut dyn FnMut(&str),
) -> Result<Usage, ProcessError> {
    let start = |source| ProcessError::Start { program: program.path.to_owned(), source };
    let (output, input) = io::pipe().map_err(start)?;
    let (watched, alive) = io::pipe().map_err(start)?;
    let pid = {
        let mut command = Command::new(program.path);
        command
            .args(program.arguments)
            .current_dir(program.directory)
            .envs(program.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(input.try_clone().map_err(start)?)
            .stderr(input)
            .process_group(0);
        let watched = watched.as_raw_fd();
        // SAFETY: `watch` makes only system calls, as required between fork and exec.
        unsafe { command.pre_exec(move || watch(watched)) };
        // The handle is dropped: the process is waited for below, which also gives its resources.
        spawned(&mut command).map_err(start)? as i32
    };
    drop(watched);
    let mut group = Group { pid, others: BTreeMap::new(), alive: Some(alive), reaped: false };
    let (sender, received) = mpsc::sync_channel(1000);
    // Not joined: it ends with the pipe.
    thread::spawn(move || read_lines(output, &sender));
    let mut log = LineLog { line, last: VecDeque::new(), count: 0 };
    let started = Instant::now();
    let mut looked = started;
    let mut closed = false;
    let stopped: Option<ProcessErrorKind> = loop {
        if closed {
            thread::sleep(TICK);
        } else {
            match received.recv_timeout(TICK) {
                Ok(text) => log.add(text),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => closed = true,
            }
        }
        if group.has_ended() {
            break None;
        }
        if looked.elapsed() < TICK {
            continue;
        }
        looked = Instant::now();
        if interrupt.is_raised() {
            break Some(ProcessErrorKind::Interrupted);
        }
        let memory = group.look();
        if program.timeout.is_some_and(|most| started.elapsed() > most) {
            break Some(ProcessErrorKind::Timeout);
        }
        if program.memory.is_some_and(|most| memory > most) {
            break Some(ProcessErrorKind::Memory(memory));
        }
    };
    let (status, usage) = group.end();
    let until = Instant::now() + DRAIN;
    while let Ok(text) = received.recv_timeout(until.saturating_duration_since(Instant::now())) {
        log.add(text);
    }
    let last: Vec<String> = log.last.into();
    let failed = |how: String| Err(ProcessError::Failed { how, last: last.clone() });
    match stopped {
        Some(ProcessErrorKind::Interrupted) => Err(Interrupted.into()),
        Some(ProcessErrorKind::Timeout) => {
            let seconds = program.timeout.unwrap_or_default().as_secs_f64();
            failed(format!("it was ended after {seconds} s, its `timeout`"))
        }
        Some(ProcessErrorKind::Memory(memory)) => failed(format!(
            "it was ended because it used {} MB of memory, more than its `memory` of {} MB",
            memory / 1_000_000,
            program.memory.unwrap_or_default() / 1_000_000
        )),
        None if libc::WIFSIGNALED(status) => {
            failed(format!("it was ended by the signal {}", libc::WTERMSIG(status)))
        }
        None => match libc::WEXITSTATUS(status) {
            0 => Ok(usage),
            code => failed(format!("it ended with the exit code {code}")),
        },
    }
}

enum ProcessErrorKind {
    Interrupted,
    Timeout,
    Memory(u64),
}

/// Starts a program. A program that was just copied may still be open in another process that is being started.
fn spawned(command: &mut Command) -> io::Result<u32> {
    let mut tries = 0;
    loop {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && tries < 50 => {
                tries += 1;
                thread::sleep(Duration::from_millis(20));
            }
            started => return started.map(|child| child.id()),
        }
    }
}

/// Runs between fork and exec: starts the watcher, which is detached.
fn watch(alive: RawFd) -> io::Result<()> {
    // SAFETY: only system calls, none of which takes a lock or allocates memory.
    unsafe {
        // assay ignores this signal; the program must not.
        libc::signal(libc::SIGXFSZ, libc::SIG_DFL);
        let group = libc::getpid();
        match libc::fork() {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                if libc::fork() == 0 {
                    wait_for_end(alive, group);
                }
                libc::_exit(0)
            }
            child => {
                while libc::waitpid(child, std::ptr::null_mut(), 0) == -1 {
                    if io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
                        break;
                    }
                }
                Ok(())
            }
        }
    }
}

/// The watcher. A byte in the pipe means that the group has ended; the end of the pipe without a byte means that assay has.
///
/// Safe after fork: only system calls.
unsafe fn wait_for_end(alive: RawFd, group: i32) -> ! {
    unsafe {
        libc::setpgid(0, 0);
        libc::dup2(alive, 0);
        // Other open descriptors would keep pipes of other processes open.
        #[cfg(target_os = "linux")]
        let closed = libc::syscall(libc::SYS_close_range, 1, u32::MAX, 0) == 0;
        #[cfg(not(target_os = "linux"))]
        let closed = false;
        if !closed {
            for other in 1..65_536 {
                libc::close(other);
            }
        }
        let mut byte = 0u8;
        loop {
            match libc::read(0, (&raw mut byte).cast(), 1) {
                0 => break,
                -1 if io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) => {}
                _ => libc::_exit(0),
            }
        }
        libc::kill(-group, libc::SIGKILL);
        libc::_exit(0)
    }
}

/// The program, its process group, and processes that it started and that left the group.
struct Group {
    pid: i32,
    /// By id, when they started.
    others: BTreeMap<i32, u64>,
    alive: Option<io::PipeWriter>,
    reaped: bool,
}

impl Group {
    /// Whether the program has ended; it is not waited for yet, so that its id is not reused.
    fn has_ended(&self) -> bool {
        // SAFETY: plain data; the process is our child and not waited for.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            let found = libc::waitid(libc::P_PID, self.pid as u32, &raw mut info, flags);
            found == -1 || info.si_pid() == self.pid
        }
    }

    /// Records all processes of the program; returns their resident memory in bytes.
    fn look(&mut self) -> u64 {
        let all = processes();
        let mut memory = 0;
        for process in all.values() {
            let mut at = process;
            let is_below = loop {
                if at.pid == self.pid
                    || at.group == self.pid
                    || self.others.get(&at.pid) == Some(&at.started)
                {
                    break true;
                }
                match all.get(&at.parent) {
                    Some(parent) if parent.pid != at.pid => at = parent,
                    _ => break false,
                }
            };
            if is_below {
                memory += process.memory;
                if process.pid != self.pid {
                    self.others.insert(process.pid, process.started);
                }
            }
        }
        memory
    }

    /// Kills the remaining processes, and waits for the program.
    fn end(&mut self) -> (i32, Usage) {
        self.look();
        // SAFETY: the ids are those of our processes; the program itself is not waited for yet.
        unsafe { libc::kill(-self.pid, libc::SIGKILL) };
        let all = processes();
        for (pid, started) in &self.others {
            if all.get(pid).is_some_and(|process| process.started == *started) {
                unsafe { libc::kill(*pid, libc::SIGKILL) };
            }
        }
        let mut status = 0;
        // SAFETY: plain data.
        let mut used: libc::rusage = unsafe { std::mem::zeroed() };
        loop {
            let waited = unsafe { libc::wait4(self.pid, &raw mut status, 0, &raw mut used) };
            if waited != -1 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                break;
            }
        }
        self.reaped = true;
        if let Some(mut alive) = self.alive.take() {
            let _ = alive.write_all(b".");
        }
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        let usage = Usage {
            cpu_seconds: seconds(used.ru_utime) + seconds(used.ru_stime),
            peak_memory_bytes: used.ru_maxrss.max(0) as u64 * 1024,
        };
        (status, usage)
    }
}

/// A panic must not leave the program running.
impl Drop for Group {
    fn drop(&mut self) {
        if !self.reaped {
            self.end();
        }
    }
}

struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    started: u64,
    memory: u64,
}

/// All processes of the machine that `/proc` shows.
fn processes() -> BTreeMap<i32, Process> {
    // SAFETY: the only argument is a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(1) as u64;
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let of = |entry: fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name, in brackets, may contain any character.
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Process {
            pid,
            parent: number(1)? as i32,
            group: number(2)? as i32,
            started: number(19)?,
            memory: number(21)?.saturating_mul(page),
        })
    };
    entries.filter_map(of).map(|process| (process.pid, process)).collect()
}

/// Splits output into lines for the log.
struct LineLog<'a> {
    line: &'a mut dyn FnMut(&str),
    last: VecDeque<String>,
    count: usize,
}

impl LineLog<'_> {
    fn add(&mut self, bytes: Vec<u8>) {
        let text = String::from_utf8_lossy(&bytes);
        // A progress bar overwrites its line: only its last state is logged.
        let text = text.trim_end().rsplit('\r').next().unwrap_or_default();
        if text.trim().is_empty() {
            return;
        }
        self.count += 1;
        match self.count.cmp(&MOST_LINES) {
            std::cmp::Ordering::Less => (self.line)(&escaped(text)),
            std::cmp::Ordering::Equal => (self.line)("the rest of its output is omitted"),
            std::cmp::Ordering::Greater => {}
        }
        if self.last.len() == SHOWN_LINES {
            self.last.pop_front();
        }
        self.last.push_back(text.to_owned());
    }
}

fn read_lines(mut output: PipeReader, sender: &mpsc::SyncSender<Vec<u8>>) {
    let (mut line, mut buffer) = (Vec::new(), [0; 8192]);
    while let Ok(n @ 1..) = output.read(&mut buffer) {
        for &byte in &buffer[..n] {
            if byte == b'\n' {
                if sender.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            } else if byte == b'\r' && line.len() + 1 >= MOST_OF_LINE {
                // Earlier states of a progress bar are dropped.
                line.clear();
            } else if line.len() < MOST_OF_LINE {
                line.push(byte);
            }
        }
    }
    if !line.is_empty() {
        let _ = sender.send(line);
    }
}

/// Finds a program by its name: relative to `directory` if the name has a `/`, otherwise in the directories of `PATH`.
pub fn find(name: &str, directory: &Path) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let is_program = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|of| of.is_file() && of.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        // Not made canonical: the program of a virtual environment is a link.
        return std::path::absolute(directory.join(name)).ok().filter(is_program);
    }
    let dirs = std::env::var_os("PATH")?;
    std::env::split_paths(&dirs).map(|dir| dir.join(name)).find(is_program)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(
        script: &str,
        timeout: Option<Duration>,
        memory: Option<u64>,
    ) -> (Result<Usage, ProcessError>, Vec<String>) {
        let mut heard = Vec::new();
        let arguments = ["-c".into(), script.into()];
        let program = Program {
            path: Path::new("/bin/sh"),
            arguments: &arguments,
            directory: Path::new("/"),
            variables: &[("GIVEN", "value".into())],
            timeout,
            memory,
        };
        let ended = run(&program, &Interrupt::default(), &mut |line| heard.push(line.to_owned()));
        (ended, heard)
    }

    #[test]
    fn output_is_passed_on_line_by_line_and_escaped() {
        let (ended, heard) = shell(
            "printf '1%%\\r99%%\\r100%%\\n'; echo $GIVEN >&2; printf 'a\\033[2Jb'",
            None,
            None,
        );
        assert!(ended.is_ok());
        assert_eq!(heard, ["100%", "value", "a\\u{1b}[2Jb"]);
    }

    #[test]
    fn failures_show_the_end_of_the_output() {
        let (ended, _) = shell("for i in $(seq 100); do echo line $i; done; exit 3", None, None);
        let text = ended.unwrap_err().to_string();
        assert!(
            text.starts_with("it ended with the exit code 3; the end of its output:"),
            "{text}"
        );
        assert!(text.contains("line 81") && !text.contains("line 80"), "{text}");
        let (ended, _) = shell("kill -9 $$", None, None);
        assert_eq!(
            ended.unwrap_err().to_string(),
            "it was ended by the signal 9; it printed nothing"
        );
        let missing = Program {
            path: Path::new("/nowhere/x"),
            arguments: &[],
            directory: Path::new("/"),
            variables: &[],
            timeout: None,
            memory: None,
        };
        let error = run(&missing, &Interrupt::default(), &mut |_| {}).unwrap_err().to_string();
        assert!(error.starts_with("cannot run /nowhere/x: "), "{error}");
    }

    /// The script prints the id of a process that must have ended.
    fn is_gone(pid: &str) -> bool {
        let pid: i32 = pid.trim().parse().unwrap();
        (0..100).any(|_| {
            thread::sleep(Duration::from_millis(20));
            processes().get(&pid).is_none_or(|of| of.memory == 0)
        })
    }

    #[test]
    fn limits_end_a_program_with_all_its_processes() {
        for script in ["sleep 100 & echo $!; wait", "setsid sh -c 'echo $$; exec sleep 100' & wait"]
        {
            let (ended, heard) = shell(script, Some(Duration::from_millis(1500)), None);
            let text = ended.unwrap_err().to_string();
            assert!(text.contains("after 1.5 s, its `timeout`"), "{text}");
            assert!(is_gone(&heard[0]), "{script}");
        }
        let (ended, heard) = shell("sleep 100 & echo $!", None, None);
        assert!(
            ended.is_ok() && is_gone(&heard[0]),
            "nothing is left running after success either"
        );
        let hungry = "x=$(head -c 200000000 /dev/zero | tr '\\0' x); sleep 100";
        let (ended, _) = shell(hungry, None, Some(50_000_000));
        let text = ended.unwrap_err().to_string();
        assert!(text.contains("more than its `memory` of 50 MB"), "{text}");
    }

    #[test]
    fn an_interrupt_ends_it() {
        let interrupt = Interrupt::default();
        interrupt.raise();
        let arguments = ["100".into()];
        let program = Program {
            path: Path::new("/bin/sleep"),
            arguments: &arguments,
            directory: Path::new("/"),
            variables: &[],
            timeout: None,
            memory: None,
        };
        let ended = run(&program, &interrupt, &mut |_| {});
        assert!(matches!(ended, Err(ProcessError::Interrupted(_))));
    }

    #[test]
    fn programs_are_found_by_name_and_by_path() {
        assert!(find("sh", Path::new("/nowhere")).is_some());
        assert_eq!(find("./sh", Path::new("/bin")), Some("/bin/./sh".into()));
        assert_eq!(find("sh/", Path::new("/bin")), None);
        assert_eq!(find("no-such-program", Path::new("/bin")), None);
    }
}
