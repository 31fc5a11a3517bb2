//! The made-up data set that is committed with assay: written by this generator, nobody's data.
//!
//! 300 users and 400 films. A film has one to three of eight genres, a quality and a popularity with
//! a long tail. A user likes some genres and dislikes others; which films they have seen depends on
//! popularity and on their taste, how they rate them on taste and quality. So there is something to
//! learn beyond popularity. Every tenth user has only 8 to 20 ratings, for the cold slices.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::DataError;

/// The seed of the committed files.
pub const SEED: u64 = 20_260_701;

const USERS: usize = 300;
const ITEMS: usize = 400;
const FOLDS: u32 = 5;

const GENRES: [&str; 8] =
    ["Adventure", "Comedy", "Crime", "Drama", "Fantasy", "Horror", "Romance", "Science"];
const HEROES: [&str; 8] = [
    "a lighthouse keeper",
    "a retired smuggler",
    "a young cartographer",
    "a choir of ghosts",
    "a stubborn botanist",
    "a failed magician",
    "a night nurse",
    "a runaway clerk",
];
const DEEDS: [&str; 8] = [
    "finds a map that redraws itself",
    "must hide a stolen bell",
    "falls for a rival",
    "wakes something under the ice",
    "is accused of a perfect theft",
    "builds a machine to sleep in",
    "inherits an island",
    "loses a bet with the sea",
];
const ADJECTIVES: [&str; 10] = [
    "Silent", "Crimson", "Last", "Hollow", "Golden", "Restless", "Borrowed", "Northern", "Paper",
    "Secret",
];
const NOUNS: [&str; 12] = [
    "Harbour", "Orchard", "Clock", "River", "Letter", "Garden", "Engine", "Winter", "Mirror",
    "Parade", "Signal", "Kingdom",
];

struct Film {
    genres: Vec<usize>,
    quality: f64,
    popularity: f64,
}

/// The two files of the set, as text.
pub struct SampleFiles {
    pub ratings: String,
    pub items: String,
}

/// Makes the set; the same seed gives the same bytes.
pub fn generate(seed: u64) -> SampleFiles {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let films: Vec<Film> = (0..ITEMS)
        .map(|rank| {
            let n = 1 + random.random_range(0..3usize);
            let mut genres: Vec<usize> =
                (0..n).map(|_| random.random_range(0..GENRES.len())).collect();
            genres.sort_unstable();
            genres.dedup();
            Film {
                genres,
                quality: 0.35 * normal(&mut random),
                popularity: (rank as f64 + 12.0).powf(-0.7),
            }
        })
        .collect();
    let items = items_csv(&films, &mut random);
    let mut ratings = String::from("user,item,rating,timestamp,fold\n");
    for user in 1..=USERS {
        let taste: Vec<f64> = GENRES.iter().map(|_| 1.1 * normal(&mut random)).collect();
        let n = if user % 10 == 0 {
            random.random_range(8..=20)
        } else {
            ((3.9 + 0.6 * normal(&mut random)).exp() as usize).clamp(20, 200)
        };
        let likes = |film: &Film| {
            film.genres.iter().map(|genre| taste[*genre]).sum::<f64>()
                / (film.genres.len() as f64).sqrt()
        };
        // Efraimidis and Spirakis: the largest keys u^(1/w) are a weighted sample without replacement.
        let mut keys: Vec<(f64, usize)> = films
            .iter()
            .enumerate()
            .map(|(at, film)| {
                let weight = film.popularity * (0.9 * likes(film)).exp();
                (random.random::<f64>().ln() / weight, at)
            })
            .collect();
        keys.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut time = 1_600_000_000 + random.random_range(0..50_000_000i64);
        for (_, at) in keys.into_iter().take(n) {
            let film = &films[at];
            let score = 3.3 + 0.85 * likes(film) + film.quality + 0.7 * normal(&mut random);
            let rating = score.round().clamp(1.0, 5.0);
            time += random.random_range(60..200_000i64);
            let fold = random.random_range(1..=FOLDS);
            ratings.push_str(&format!("{user},{},{rating},{time},f{fold}\n", at + 1));
        }
    }
    SampleFiles { ratings, items }
}

fn items_csv(films: &[Film], random: &mut ChaCha8Rng) -> String {
    let mut items = String::from("item,title,genres,overview\n");
    for (at, film) in films.iter().enumerate() {
        // invariant: the word lists are not empty
        let mut word = |words: &[&'static str]| *words.choose(random).expect("words");
        let (adjective, noun, hero, deed) =
            (word(&ADJECTIVES), word(&NOUNS), word(&HEROES), word(&DEEDS));
        let genres: Vec<&str> = film.genres.iter().map(|genre| GENRES[*genre]).collect();
        let year = 1950 + (at * 37) % 75;
        items.push_str(&format!(
            "{},The {adjective} {noun} ({year}),{},\"{} story: {hero} {deed}.\"\n",
            at + 1,
            genres.join("|"),
            genres.join(" and "),
        ));
    }
    items
}

fn normal(random: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(random)
}

/// Writes the set into the directory `dir`.
pub fn write(seed: u64, dir: &Path) -> Result<(), DataError> {
    fs::create_dir_all(dir).map_err(|error| DataError::io(dir, error))?;
    let files = generate(seed);
    for (name, text) in [("ratings.csv", files.ratings), ("items.csv", files.items)] {
        let path = dir.join(name);
        File::create(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| DataError::io(path, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_files_are_what_the_generator_writes() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/sample");
        let files = generate(SEED);
        assert!(fs::read_to_string(dir.join("ratings.csv")).unwrap() == files.ratings);
        assert!(fs::read_to_string(dir.join("items.csv")).unwrap() == files.items);
    }
}
