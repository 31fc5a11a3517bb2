//! The parts of a fold as tables for programs of others: CSV or Parquet, with headers, and the ids of the data.

use std::io;

use polars::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Dataset, Ids, Interaction, Interactions, fold::times_column};
use crate::base::parquet::{self, to_io};

/// The format of the tables.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum TableFormat {
    #[default]
    Csv,
    Parquet,
}

impl TableFormat {
    /// Whether it is the default.
    pub fn is_csv(&self) -> bool {
        *self == Self::Csv
    }

    /// `train.csv`
    pub fn file(self, stem: &str) -> String {
        match self {
            Self::Csv => format!("{stem}.csv"),
            Self::Parquet => format!("{stem}.parquet"),
        }
    }

    /// A part of a fold: `user`, `item`, `rating`, `timestamp`, by user and item. The rating is 1, and the time 0,
    /// where the data have none.
    pub fn interactions(
        self,
        part: &Interactions,
        users: &Ids,
        items: &Ids,
    ) -> io::Result<Vec<u8>> {
        let rows: Vec<Interaction> = part.iter().collect();
        let names = |of: &mut dyn Iterator<Item = &str>| {
            StringChunked::from_iter_values("".into(), of).into_series()
        };
        let user = names(&mut rows.iter().map(|row| users.name(row.user.0)));
        let item = names(&mut rows.iter().map(|row| items.name(row.item.0)));
        let columns = vec![
            user.with_name("user".into()).into_column(),
            item.with_name("item".into()).into_column(),
            Column::new("rating".into(), part.ratings()),
            times_column(&rows),
        ];
        self.bytes(DataFrame::new(rows.len(), columns))
    }

    /// The users to rank items for: all of the data, so the table says nothing of the test part.
    pub fn users(self, users: &Ids) -> io::Result<Vec<u8>> {
        self.bytes(DataFrame::new(users.len(), vec![Column::new("user".into(), users.names())]))
    }

    /// The catalogue: `item`, and `title`, `genres` and `overview` as far as the data have them.
    pub fn items(self, data: &Dataset) -> io::Result<Vec<u8>> {
        self.bytes(data.catalogue.frame(&data.items))
    }

    fn bytes(self, frame: PolarsResult<DataFrame>) -> io::Result<Vec<u8>> {
        let mut frame = frame.map_err(to_io)?;
        let mut bytes = Vec::new();
        match self {
            Self::Csv => CsvWriter::new(&mut bytes).finish(&mut frame).map_err(to_io)?,
            Self::Parquet => bytes = parquet::bytes(&mut frame)?,
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Catalogue, ItemIx, UserIx};

    #[test]
    fn a_part_is_written_with_the_ids_of_the_data() {
        let users = Ids::new(["7", "a,b", "say \"x\""].map(String::from));
        let items = Ids::new(["007", "10"].map(String::from));
        let row = |user, item, rating, time: i64| Interaction {
            user: UserIx(user),
            item: ItemIx(item),
            rating,
            timestamp: time.into(),
        };
        let part =
            Interactions::new(3, 2, &[row(1, 0, 4.0, 5), row(2, 1, 0.5, 6), row(0, 1, 1.0, 0)]);
        let csv = TableFormat::Csv.interactions(&part, &users, &items).unwrap();
        assert_eq!(
            String::from_utf8(csv).unwrap(),
            "user,item,rating,timestamp\n7,10,1.0,0\n\"a,b\",007,4.0,5\n\"say \"\"x\"\"\",10,0.5,6\n"
        );
        let nothing = Interactions::new(3, 2, &[]);
        let csv = TableFormat::Csv.interactions(&nothing, &users, &items).unwrap();
        assert_eq!(csv, b"user,item,rating,timestamp\n");
        let parquet = TableFormat::Parquet.interactions(&part, &users, &items).unwrap();
        let (names, height) = parquet::foreign_columns(&parquet).unwrap();
        assert_eq!((names.join(" "), height), ("user item rating timestamp".into(), 3));
        let user = parquet::foreign_column(&parquet, "user", 3).unwrap();
        assert_eq!(user.str().unwrap().get(1), Some("a,b"));
        let csv = TableFormat::Csv.users(&users).unwrap();
        assert_eq!(String::from_utf8(csv).unwrap(), "user\n7\n\"a,b\"\n\"say \"\"x\"\"\"\n");
        let data = Dataset {
            name: "made-up".into(),
            users,
            items,
            interactions: part,
            catalogue: Catalogue {
                titles: vec![Some("A film, long".into()), None],
                ..Catalogue::default()
            },
            file_rows: vec![],
            has_ratings: true,
            has_timestamps: true,
            folds: vec![],
            notes: vec![],
            filtered: Vec::new(),
        };
        let csv = TableFormat::Csv.items(&data).unwrap();
        assert_eq!(String::from_utf8(csv).unwrap(), "item,title\n007,\"A film, long\"\n10,\n");
    }
}
