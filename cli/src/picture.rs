//! A frame, its reconstruction and their difference side by side, as a PNG picture.
//!
//! Frame and reconstruction share one logarithmic colour scale from dark to bright, over at most six decades below
//! the brightest value. The difference is on a linear scale from blue (too low) over white to red (too high), whose
//! ends are the largest difference in the frame.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use hdf5::Dataset;

use crate::error::{At, CliError};
use crate::h5::dataset::{Region, read_region};
use crate::h5::element::element_type;
use crate::output::PendingFile;
use crate::values::to_f64;

type Colour = [u8; 3];

/// Stops of a perceptually even scale (matplotlib's viridis), dark to bright.
const SEQUENTIAL: [Colour; 9] = [
    [68, 1, 84],
    [71, 45, 123],
    [59, 82, 139],
    [44, 114, 142],
    [33, 144, 141],
    [39, 173, 129],
    [92, 200, 99],
    [170, 220, 50],
    [253, 231, 37],
];

/// Stops of the difference's scale.
const DIVERGING: [Colour; 5] =
    [[33, 102, 172], [146, 197, 222], [247, 247, 247], [244, 165, 130], [178, 24, 43]];

/// Between the panels, and for values that are not finite.
const GREY: Colour = [128, 128, 128];

/// Pixels between panels.
const GAP: usize = 8;

/// Small frames are enlarged by a whole factor to about this width.
const PANEL_WIDTH: usize = 384;

/// Decades below the brightest value that the logarithmic scale shows.
const DECADES: f64 = 6.0;

/// Draws one frame of a dataset and of its copy.
///
/// # Errors
/// If there is no such frame, or the picture cannot be written.
pub fn draw(original: &Dataset, copy: &Dataset, frame: usize, out: &Path) -> Result<(), CliError> {
    let (rows, cols, before) = read_frame(original, frame)?;
    let (_, _, after) = read_frame(copy, frame)?;
    let difference: Vec<f64> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
    let log_scale = LogScale::of(&before);
    let largest =
        difference.iter().copied().filter(|d| d.is_finite()).fold(0.0, |most: f64, d| most.max(d.abs()));
    let panels = [
        before.iter().map(|&value| log_scale.colour(value)).collect(),
        after.iter().map(|&value| log_scale.colour(value)).collect(),
        difference.iter().map(|&value| difference_colour(value, largest)).collect(),
    ];
    write_png(out, rows, cols, &panels)
}

/// Rows, columns and values of frame number `frame`, counting over all leading dimensions.
fn read_frame(dataset: &Dataset, frame: usize) -> Result<(usize, usize, Vec<f64>), CliError> {
    let element = element_type(&dataset.dtype()?)?;
    let dims = dataset.shape();
    let [leading @ .., rows, cols] = dims.as_slice() else {
        return Err(CliError::new(format!("dimensions {dims:?}: expected two or more to draw a frame")));
    };
    let n_frames: usize = leading.iter().product();
    if frame >= n_frames {
        return Err(CliError::new(format!(
            "frame {frame}: the dataset has frames 0 to {}",
            n_frames.saturating_sub(1)
        )));
    }
    let mut start = vec![0; dims.len()];
    let mut rest = frame;
    for axis in (0..leading.len()).rev() {
        start[axis] = rest % leading[axis];
        rest /= leading[axis];
    }
    let region_dims = leading.iter().map(|_| 1).chain([*rows, *cols]).collect();
    let values = read_region(dataset, &Region { start, dims: region_dims })?;
    Ok((*rows, *cols, to_f64(element, &values)))
}

struct LogScale {
    lowest: f64,
    highest: f64,
}

impl LogScale {
    fn of(values: &[f64]) -> Self {
        let positive = || values.iter().copied().filter(|value| *value > 0.0 && value.is_finite());
        let highest = positive().fold(f64::MIN_POSITIVE, f64::max).log10();
        let lowest = positive().fold(f64::INFINITY, f64::min).log10();
        Self { lowest: lowest.max(highest - DECADES).min(highest - 1.0), highest }
    }

    fn colour(&self, value: f64) -> Colour {
        if !value.is_finite() {
            return GREY;
        }
        let position =
            if value > 0.0 { (value.log10() - self.lowest) / (self.highest - self.lowest) } else { 0.0 };
        blend(&SEQUENTIAL, position)
    }
}

fn difference_colour(value: f64, largest: f64) -> Colour {
    if !value.is_finite() {
        return GREY;
    }
    blend(&DIVERGING, if largest > 0.0 { 0.5 + 0.5 * value / largest } else { 0.5 })
}

/// The colour at `position`, 0 to 1, between the stops.
fn blend(stops: &[Colour], position: f64) -> Colour {
    let along = position.clamp(0.0, 1.0) * (stops.len() - 1) as f64;
    let index = (along as usize).min(stops.len() - 2);
    let share = along - index as f64;
    let mix = |low: u8, high: u8| (f64::from(low) * (1.0 - share) + f64::from(high) * share).round() as u8;
    std::array::from_fn(|channel| mix(stops[index][channel], stops[index + 1][channel]))
}

fn write_png(out: &Path, rows: usize, cols: usize, panels: &[Vec<Colour>; 3]) -> Result<(), CliError> {
    let factor = (PANEL_WIDTH / cols.max(1)).max(1);
    let (width, height) = (panels.len() * cols * factor + (panels.len() - 1) * GAP, rows * factor);
    let mut pixels = Vec::with_capacity(width * height * 3);
    for row in 0..height {
        for (number, panel) in panels.iter().enumerate() {
            if number > 0 {
                pixels.extend([GREY; GAP].as_flattened());
            }
            let line = &panel[row / factor * cols..][..cols];
            line.iter().for_each(|colour| pixels.extend([colour; 1].repeat(factor).into_iter().flatten()));
        }
    }
    let pending = PendingFile::try_new(out)?;
    let file = File::create(pending.path()).at(out.display())?;
    let mut encoder = png::Encoder::new(BufWriter::new(file), width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    let png_error = |error: png::EncodingError| CliError::new(format!("{}: {error}", out.display()));
    let mut writer = encoder.write_header().map_err(png_error)?;
    writer.write_image_data(&pixels).map_err(png_error)?;
    writer.finish().map_err(png_error)?;
    pending.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_run_from_end_to_end() {
        let scale = LogScale::of(&[1e-9, 1e-3, 1.0, f64::NAN, -1.0]);
        assert_eq!(scale.colour(1.0), SEQUENTIAL[8]);
        assert_eq!(scale.colour(1e-6), SEQUENTIAL[0]);
        assert_eq!(scale.colour(-5.0), SEQUENTIAL[0]);
        assert_eq!(scale.colour(1e-3), SEQUENTIAL[4]);
        assert_eq!(scale.colour(f64::NAN), GREY);
        assert_eq!(difference_colour(-2.0, 2.0), DIVERGING[0]);
        assert_eq!(difference_colour(0.0, 0.0), DIVERGING[2]);
    }
}
