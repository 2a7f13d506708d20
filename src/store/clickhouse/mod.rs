//! ClickHouse: the store of production.

pub mod schema;

#[cfg(test)]
mod print {
    use super::schema::*;

    #[test]
    fn print() {
        let config = crate::config::load(None, std::iter::empty()).unwrap();
        let place = Place::new(&config.clickhouse);
        println!("{};\n", place.create_database());
        for table in TABLES {
            println!("{};\n", place.create_table(table));
        }
        for view in VIEWS {
            println!("{};\n", place.create_view(view));
        }
    }
}
