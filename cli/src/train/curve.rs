//! The loss curve: kept while a training runs, drawn at its end.

use std::io::BufWriter;
use std::path::Path;

use h5z_sae_train::report::StepReport;
use plotters::prelude::*;
use serde::{Deserialize, Serialize};

use super::canvas::Canvas;
use crate::error::{At, CliError};
use crate::output::PendingFile;

const WIDTH: u32 = 960;
const HEIGHT: u32 = 540;
const LOSS_COLOUR: RGBColor = RGBColor(31, 119, 180);
const ERROR_COLOUR: RGBColor = RGBColor(214, 39, 40);
/// Letters have one size; this only tells the chart how much room to leave.
const LETTERS: (&str, i32) = ("8x8", 8);

/// Points that are kept: every other one is dropped when there are more. A picture has no more columns.
const MOST_POINTS: usize = 2048;

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Point {
    step: usize,
    loss: f64,
    squared_error: f64,
}

/// Loss and squared error over the steps. Part of a checkpoint, so that a training that went on has a whole curve.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Curve {
    points: Vec<Point>,
    /// Reports for each point, less one.
    skipped: usize,
    /// Reports since the last point.
    since: usize,
}

impl Curve {
    /// Adds a report, or skips it where others must make do.
    pub fn add(&mut self, report: &StepReport) {
        if self.since < self.skipped && !report.is_last {
            self.since += 1;
            return;
        }
        self.since = 0;
        let StepReport { step, loss, squared_error, .. } = *report;
        self.points.push(Point { step, loss, squared_error });
        if self.points.len() > MOST_POINTS {
            self.points = self.points.iter().skip(1).step_by(2).copied().collect();
            self.skipped = 2 * self.skipped + 1;
        }
    }

    /// Writes the curve as a PNG picture, on a logarithmic scale.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn draw(&self, path: &Path) -> Result<(), CliError> {
        let mut pixels = vec![255; 3 * (WIDTH * HEIGHT) as usize];
        let drawn = self.draw_on(Canvas::new(&mut pixels, WIDTH, HEIGHT));
        drawn.map_err(|error| CliError::new(format!("{}: {error}", path.display())))?;
        let output = PendingFile::try_new(path)?;
        let file = BufWriter::new(std::fs::File::create(output.path()).at(path.display())?);
        let mut encoder = png::Encoder::new(file, WIDTH, HEIGHT);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header().map_err(std::io::Error::from).at(path.display())?;
        writer.write_image_data(&pixels).map_err(std::io::Error::from).at(path.display())?;
        writer.finish().map_err(std::io::Error::from).at(path.display())?;
        output.finish()
    }

    fn draw_on(&self, canvas: Canvas) -> Result<(), Box<dyn std::error::Error>> {
        let area = canvas.into_drawing_area();
        area.fill(&WHITE)?;
        let (lowest, highest) = self.range();
        let last = self.points.last().map_or(1, |point| point.step.max(1));
        let mut chart = ChartBuilder::on(&area)
            .margin(16)
            .caption("loss (blue) and squared error (red) per patch, by step", LETTERS)
            .x_label_area_size(24)
            .y_label_area_size(72)
            .build_cartesian_2d(0..last, (lowest..highest).log_scale())?;
        chart
            .configure_mesh()
            .label_style(LETTERS)
            .y_label_formatter(&|value| format!("{value:.0e}"))
            .light_line_style(WHITE)
            .draw()?;
        let line = |value: fn(&Point) -> f64| {
            let shown = self.points.iter().map(move |point| (point.step, value(point)));
            shown.filter(|(_, value)| value.is_finite() && *value > 0.0)
        };
        chart.draw_series(LineSeries::new(line(|point| point.loss), &LOSS_COLOUR))?;
        chart.draw_series(LineSeries::new(line(|point| point.squared_error), &ERROR_COLOUR))?;
        area.present()?;
        Ok(())
    }

    /// Whole decades around all values.
    fn range(&self) -> (f64, f64) {
        let values = self.points.iter().flat_map(|point| [point.loss, point.squared_error]);
        let shown = values.filter(|value| value.is_finite() && *value > 0.0);
        let (low, high) = shown.fold((f64::MAX, 0.0), |(low, high): (f64, f64), v| (low.min(v), high.max(v)));
        if high == 0.0 {
            return (0.1, 1.0);
        }
        let (low, high) = (low.log10().floor(), high.log10().ceil());
        (10f64.powf(low), 10f64.powf(high.max(low + 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(step: usize) -> StepReport {
        let squared_error = 100.0 / step as f64;
        let loss = 1.5 * squared_error;
        StepReport {
            step,
            n_steps: 100_000,
            loss,
            squared_error,
            nonzeros: 3.0,
            latents_in_use: 9,
            is_last: step == 100_000,
        }
    }

    fn curve_of(n_reports: usize) -> Curve {
        let mut curve = Curve::default();
        (1..=n_reports).for_each(|report_number| curve.add(&report(20 * report_number)));
        curve
    }

    #[test]
    fn long_curves_are_thinned_and_keep_their_end() {
        let curve = curve_of(5000);
        assert!(curve.points.len() <= MOST_POINTS && curve.points.len() > MOST_POINTS / 4);
        assert_eq!(curve.points.last().unwrap().step, 100_000);
        assert!(curve.points.is_sorted_by(|a, b| a.step < b.step));
    }

    #[test]
    fn a_picture_shows_both_lines_and_letters() {
        let mut pixels = vec![255; 3 * (WIDTH * HEIGHT) as usize];
        curve_of(300).draw_on(Canvas::new(&mut pixels, WIDTH, HEIGHT)).unwrap();
        let has = |colour: [u8; 3]| pixels.as_chunks::<3>().0.contains(&colour);
        assert!(has([31, 119, 180]) && has([214, 39, 40]) && has([0, 0, 0]));
        let mut blank = vec![255; pixels.len()];
        Curve::default().draw_on(Canvas::new(&mut blank, WIDTH, HEIGHT)).unwrap();
        assert_ne!(blank, pixels);
    }
}
