//! Fetching a data set from its publisher: resumed, checked, put in place in one go.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use ureq::{
    http::header::{CONTENT_LENGTH, RANGE},
    tls::{RootCerts, TlsConfig},
};

use super::{
    DataError, Manifest,
    manifest::{Archive, sha256_of},
};
use crate::base::{
    files::{is_disk_full, temporary_dir},
    interrupt::Interrupt,
    limits::MOST_UNPACKED,
};

/// Fetches the archive of `manifest` and puts its files into `root/<folder>`; returns that folder.
/// `progress` is called with (bytes done, bytes in all; 0 where unknown).
/// A download that broke off is taken up where it ended.
pub fn fetch(
    manifest: &Manifest,
    root: &Path,
    interrupt: &Interrupt,
    progress: &dyn Fn(u64, u64),
) -> Result<PathBuf, DataError> {
    let Some(archive) = &manifest.about.archive else {
        return Err(DataError::Fetch {
            url: manifest.about.name.clone(),
            problem: "this data set has no archive to fetch".into(),
            help: manifest.about.hashes_from.clone(),
        });
    };
    let folder = root.join(&manifest.about.folders[0]);
    fs::create_dir_all(root).map_err(|error| DataError::io(root, error))?;
    stays_in(root, &folder)?;
    let zip = root.join(format!("{}.zip.partial", manifest.about.name));
    download(archive, &zip, interrupt, progress)?;
    let (unpacked, _held) = temporary_dir(root).map_err(|error| DataError::io(root, error))?;
    let checked = check_archive(archive, &zip)
        .and_then(|()| unpack(&zip, archive, &manifest.files(), unpacked.path(), interrupt))
        .and_then(|()| manifest.check_hashes(unpacked.path()));
    if let Err(error) = checked {
        // A damaged archive would be damaged at the next try too; a disk may have room then.
        if !matches!(error, DataError::Interrupted(_)) && !is_disk_full(&error) {
            let _ = fs::remove_file(&zip);
        }
        return Err(error);
    }
    fs::create_dir_all(&folder).map_err(|error| DataError::io(&folder, error))?;
    for file in manifest.files() {
        let to = folder.join(&file);
        let within = to.parent().unwrap_or(&folder);
        stays_in(root, within)?;
        fs::create_dir_all(within).map_err(|error| DataError::io(within, error))?;
        fs::rename(unpacked.path().join(&file), &to).map_err(|error| DataError::io(to, error))?;
    }
    fs::remove_file(&zip).map_err(|error| DataError::io(&zip, error))?;
    Ok(folder)
}

fn check_archive(archive: &Archive, zip: &Path) -> Result<(), DataError> {
    let Some(expected) = &archive.sha256 else { return Ok(()) };
    let found = sha256_of(zip)?;
    match found == *expected {
        true => Ok(()),
        false => Err(DataError::HashMismatch {
            path: zip.to_owned(),
            found,
            expected: expected.clone(),
            help: "the download was removed; try again, and if it happens again the publisher has changed the archive"
                .into(),
        }),
    }
}

/// Names in manifests stay inside by themselves; a link in the data directory may lead out of it.
fn stays_in(root: &Path, folder: &Path) -> Result<(), DataError> {
    let real = |path: &Path| fs::canonicalize(path).map_err(|error| DataError::io(path, error));
    let mut there = folder;
    while !there.exists() && there != root {
        there = there.parent().unwrap_or(root);
    }
    match real(there)?.starts_with(real(root)?) {
        true => Ok(()),
        false => Err(DataError::File {
            path: folder.to_owned(),
            problem:
                "a symbolic link leads out of the data directory; assay does not write through it"
                    .into(),
            help: "remove the link, or set ASSAY_DATA to the directory that it leads to".into(),
        }),
    }
}

fn download(
    archive: &Archive,
    to: &Path,
    interrupt: &Interrupt,
    progress: &dyn Fn(u64, u64),
) -> Result<(), DataError> {
    let failed = |problem: String| DataError::Fetch {
        url: archive.url.clone(),
        problem,
        help: "check the network and run the command again to resume".into(),
    };
    let have = fs::metadata(to).map_or(0, |file| file.len());
    // The machine's own certificates: those of a company's proxy are among them.
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    let agent: ureq::Agent = ureq::Agent::config_builder().tls_config(tls).build().into();
    let mut request = agent.get(&archive.url);
    if have > 0 {
        request = request.header(RANGE, format!("bytes={have}-"));
    }
    let mut response = match request.call() {
        Ok(response) => response,
        // Nothing is left to send: the earlier download was complete.
        Err(ureq::Error::StatusCode(416)) if have > 0 => return Ok(()),
        Err(error) => return Err(failed(error.to_string())),
    };
    let resumed = response.status() == 206;
    let length = response.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let mut done = if resumed { have } else { 0 };
    let total = length.map(|length| length + done);
    let mut file = OpenOptions::new()
        .create(true)
        .append(resumed)
        .write(true)
        .truncate(!resumed)
        .custom_flags(libc::O_NOFOLLOW)
        .open(to)
        .map_err(|error| DataError::io(to, error))?;
    let mut body = response.body_mut().as_reader();
    let mut buffer = vec![0; 1 << 16];
    // Sizes in manifests may be rounded.
    let most = archive.bytes.map_or(MOST_UNPACKED, |bytes| bytes.saturating_mul(2));
    loop {
        interrupt.check()?;
        if done > most {
            drop(file);
            let _ = fs::remove_file(to);
            return Err(DataError::Fetch {
                url: archive.url.clone(),
                problem: format!("it sends more than {most} bytes"),
                help: "the download was removed; `archive.bytes` of the manifest is the size that is expected".into(),
            });
        }
        let n = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) => return Err(failed(format!("interrupted after {done} bytes: {error}"))),
        };
        file.write_all(&buffer[..n]).map_err(|error| DataError::io(to, error))?;
        done += n as u64;
        progress(done, total.or(archive.bytes).unwrap_or(0));
    }
    match total {
        Some(total) if done < total => {
            Err(failed(format!("interrupted after {done} of {total} bytes")))
        }
        _ => Ok(()),
    }
}

fn unpack(
    zip: &Path,
    archive: &Archive,
    files: &[String],
    into: &Path,
    interrupt: &Interrupt,
) -> Result<(), DataError> {
    let damaged = |problem: String| DataError::File {
        path: zip.to_owned(),
        problem,
        help: "the download was removed; run the command again".into(),
    };
    let most = archive.unpacked_bytes.unwrap_or(MOST_UNPACKED);
    let mut left = most;
    let file = File::open(zip).map_err(|error| DataError::io(zip, error))?;
    let mut contents = zip::ZipArchive::new(file).map_err(|error| damaged(error.to_string()))?;
    for name in files {
        let inside = Path::new(&archive.inside).join(name);
        let inside = inside.to_string_lossy();
        let mut from = contents
            .by_name(&inside)
            .map_err(|error| damaged(format!("the archive has no readable `{inside}`: {error}")))?;
        let path = into.join(name);
        if let Some(within) = path.parent() {
            fs::create_dir_all(within).map_err(|error| DataError::io(within, error))?;
        }
        let mut to = File::create(&path).map_err(|error| DataError::io(&path, error))?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            interrupt.check()?;
            let n = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) => return Err(damaged(format!("`{inside}`: {error}"))),
            };
            // What the archive says of its sizes may be wrong: what comes out is counted.
            left = left.checked_sub(n as u64).ok_or_else(|| DataError::File {
                path: zip.to_owned(),
                problem: format!("it unpacks to more than {most} bytes"),
                help: "the download was removed; `archive.unpacked_bytes` in the manifest sets the limit, which is \
                       20 GB where it says nothing"
                    .into(),
            })?;
            to.write_all(&buffer[..n]).map_err(|error| DataError::io(&path, error))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{io, net::TcpListener, sync::Arc, thread};

    use super::*;
    use crate::data::{DataDirs, Manifests};

    /// The sample set as a zip archive.
    fn archive() -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, text) in [("ratings.csv", "user,item\n1,2\n"), ("items.csv", "item\n2\n")] {
            zip.start_file(format!("in/{name}"), zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    /// Serves `content` for as many requests as `breaks` has entries, honouring Range; each answer
    /// breaks off after so many bytes. Returns the URL and the Range headers that came.
    fn serve(content: Vec<u8>, breaks: Vec<usize>) -> (String, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/a.zip", listener.local_addr().unwrap());
        let content = Arc::new(content);
        let server = thread::spawn(move || {
            let mut ranges = Vec::new();
            for limit in breaks {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = vec![0; 4096];
                let n = stream.read(&mut request).unwrap();
                let request = String::from_utf8_lossy(&request[..n]).to_lowercase();
                let range = request.lines().find_map(|line| line.strip_prefix("range: bytes="));
                let from: usize = range.map_or(0, |r| r.trim_end_matches('-').parse().unwrap());
                ranges.push(range.unwrap_or_default().to_owned());
                let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
                let body = &content[from..];
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(&body[..limit.min(body.len())]).unwrap();
            }
            ranges
        });
        (url, server)
    }

    fn manifest(url: &str, sha256: Option<&str>) -> Manifest {
        let mut manifest =
            Manifests::read(&DataDirs::new(vec![])).unwrap().get("sample").unwrap().clone();
        manifest.about.sha256.clear();
        manifest.about.archive = Some(Archive {
            url: url.into(),
            sha256: sha256.map(str::to_owned),
            bytes: None,
            unpacked_bytes: None,
            inside: "in".into(),
        });
        manifest
    }

    fn run(manifest: &Manifest, root: &Path) -> Result<PathBuf, DataError> {
        fetch(manifest, root, &Interrupt::default(), &|_, _| {})
    }

    #[test]
    fn a_download_that_broke_off_goes_on_where_it_stopped() {
        let (url, server) = serve(archive(), vec![50, 1 << 20]);
        let root = tempfile::tempdir().unwrap();
        let manifest = manifest(&url, None);
        let error = run(&manifest, root.path()).unwrap_err().to_string();
        assert!(error.contains("interrupted after 50"), "{error}");
        let folder = run(&manifest, root.path()).unwrap();
        assert_eq!(fs::read_to_string(folder.join("ratings.csv")).unwrap(), "user,item\n1,2\n");
        assert_eq!(server.join().unwrap(), ["", "50-"]);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn a_wrong_hash_keeps_nothing() {
        let (url, server) = serve(archive(), vec![1 << 20]);
        let root = tempfile::tempdir().unwrap();
        let error = run(&manifest(&url, Some("00")), root.path()).unwrap_err();
        assert!(matches!(error, DataError::HashMismatch { .. }), "{error}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        server.join().unwrap();
    }

    #[test]
    fn a_wrong_hash_of_a_file_keeps_nothing_either() {
        let (url, server) = serve(archive(), vec![1 << 20]);
        let root = tempfile::tempdir().unwrap();
        let mut manifest = manifest(&url, None);
        manifest.about.sha256.insert("ratings.csv".into(), "00".into());
        let error = run(&manifest, root.path()).unwrap_err();
        assert!(matches!(error, DataError::HashMismatch { .. }), "{error}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        server.join().unwrap();
    }

    #[test]
    fn an_archive_unpacks_to_no_more_than_its_manifest_says() {
        let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for name in ["ratings.csv", "items.csv"] {
            zip.start_file(format!("in/{name}"), zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(&vec![b'x'; 1 << 20]).unwrap();
        }
        let zip = zip.finish().unwrap().into_inner();
        assert!(zip.len() < 10_000);
        for (most, fits) in [(1 << 21, true), ((1 << 21) - 1, false)] {
            let (url, server) = serve(zip.clone(), vec![1 << 20]);
            let root = tempfile::tempdir().unwrap();
            let mut manifest = manifest(&url, None);
            manifest.about.archive.as_mut().unwrap().unpacked_bytes = Some(most);
            let result = run(&manifest, root.path());
            server.join().unwrap();
            assert_eq!(result.is_ok(), fits);
            if let Err(error) = result {
                assert!(error.to_string().contains(&format!("more than {most} bytes")), "{error}");
                assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0, "nothing is left behind");
            }
        }
    }

    #[test]
    fn a_download_of_twice_the_size_that_is_expected_is_ended() {
        let (url, server) = serve(vec![b'x'; 1 << 18], vec![1 << 20]);
        let root = tempfile::tempdir().unwrap();
        let mut manifest = manifest(&url, None);
        manifest.about.archive.as_mut().unwrap().bytes = Some(1000);
        let error = run(&manifest, root.path()).unwrap_err().to_string();
        assert!(error.contains("more than 2000 bytes"), "{error}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        drop(server);
    }

    #[test]
    fn something_that_is_no_archive_is_refused() {
        let (url, server) = serve(b"<html>moved</html>".to_vec(), vec![1 << 20]);
        let root = tempfile::tempdir().unwrap();
        let error = run(&manifest(&url, None), root.path()).unwrap_err().to_string();
        assert!(error.contains("run the command again"), "{error}");
        server.join().unwrap();
    }
}
