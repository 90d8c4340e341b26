//! One video picture, on whichever renderer the window has.
//!
//! On the graphics card a shader turns the YUV planes into colours ([`picture`]); on the software
//! renderer the picture is scaled to the tile's size and drawn as an image ([`software`]). The
//! widget asks the renderer at run time which of the two it is.
//!
//! **Invariant:** frames never travel in messages. The widget takes the newest frame out of its
//! [`Slot`] at each redraw; who wants the window redrawn because of a new frame watches the slots
//! ([`crate::screen::meeting::Meeting::watched`]).

mod picture;
mod software;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use iced::advanced::layout::{self, Layout};
use iced::advanced::widget::{Tree, Widget, tree};
use iced::advanced::{Clipboard, Renderer as _, Shell, mouse, renderer};
use iced::widget::shader::{self, Shader};
use iced::{Color, Element, Event, Length, Rectangle, Size, border, window};
use media::{Frame, Slot};

use crate::theme;

/// How much of a camera's picture may be cut away so that it fills its tile; beyond that the
/// whole picture is shown with black beside it.
const CROP_MAX: f32 = 0.38;

/// How a picture lies in its tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fill {
    /// Fills the tile, cutting a little away: people.
    #[default]
    Cover,
    /// Shows everything: screens.
    Contain,
}

/// The widget; see the module.
#[derive(Debug)]
pub struct Tile<'a> {
    frames: &'a Slot<Frame>,
    fill: Fill,
    mirrored: bool,
    radius: f32,
    ring: bool,
    scale_factor: f32,
}

/// Shows the newest of these frames, and nothing while there is none.
#[must_use]
pub fn tile(frames: &Slot<Frame>) -> Tile<'_> {
    Tile { frames, fill: Fill::Cover, mirrored: false, radius: 0.0, ring: false, scale_factor: 1.0 }
}

impl Tile<'_> {
    /// How the picture lies in the tile.
    #[must_use]
    pub fn fill(mut self, fill: Fill) -> Self {
        self.fill = fill;
        self
    }

    /// Left and right swapped, as people know themselves.
    #[must_use]
    pub fn mirrored(mut self, mirrored: bool) -> Self {
        self.mirrored = mirrored;
        self
    }

    /// Rounds the corners, in logical pixels.
    #[must_use]
    pub fn radius(mut self, radius: f32) -> Self {
        self.radius = radius;
        self
    }

    /// Draws a line along the edge, [`theme::RING`] wide: this is who speaks. It is part of the
    /// picture, because the software renderer would fill a frame over it with nothing, at the
    /// price of the whole.
    #[must_use]
    pub fn ring(mut self, ring: bool) -> Self {
        self.ring = ring;
        self
    }

    /// Physical pixels in a logical one. The software renderer needs it to make an image of the
    /// right size; nothing tells it to widgets.
    #[must_use]
    pub fn scale_factor(mut self, scale_factor: f32) -> Self {
        self.scale_factor = scale_factor;
        self
    }
}

/// What the widget remembers between redraws.
#[derive(Debug)]
struct State {
    /// Names this tile to the shader, which keeps textures for it.
    id: u64,
    version: u64,
    frame: Option<Arc<Frame>>,
    software: software::State,
}

impl Default for State {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            version: 0,
            frame: None,
            software: software::State::default(),
        }
    }
}

/// Where a picture lies, and which part of it is seen.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Placement {
    /// In the window, logical pixels.
    bounds: Rectangle,
    /// The part that is seen, as shares of the whole picture.
    crop: Rectangle,
    /// Whether the picture reaches the tile's corners.
    fills: bool,
}

impl Placement {
    fn new(picture: Size, tile: Rectangle, fill: Fill) -> Self {
        let (across, down) = (tile.width / picture.width, tile.height / picture.height);
        let visible = across.min(down) / across.max(down);
        if fill == Fill::Cover && visible >= 1.0 - CROP_MAX {
            let scale = across.max(down);
            let (width, height) = (across / scale, down / scale); // one of them is 1, the other the visible share
            let crop = Rectangle { x: (1.0 - width) / 2.0, y: (1.0 - height) / 2.0, width, height };
            return Self { bounds: tile, crop, fills: true };
        }
        let scale = across.min(down);
        let size = Size::new(picture.width * scale, picture.height * scale);
        let bounds = Rectangle {
            x: tile.x + (tile.width - size.width) / 2.0,
            y: tile.y + (tile.height - size.height) / 2.0,
            width: size.width,
            height: size.height,
        };
        let crop = Rectangle { x: 0.0, y: 0.0, width: 1.0, height: 1.0 };
        // Black beside it, unless the shapes agree to within a pixel or two.
        let fills = tile.width - size.width < 2.0 && tile.height - size.height < 2.0;
        Self { bounds, crop, fills }
    }
}

impl Tile<'_> {
    fn placement(&self, frame: &Frame, bounds: Rectangle) -> Placement {
        let picture = Size::new(frame.width() as f32, frame.height() as f32);
        Placement::new(picture, bounds, self.fill)
    }

    fn radius_of(&self, placement: &Placement) -> f32 {
        if placement.fills { self.radius } else { 0.0 }
    }
}

impl<Message> Widget<Message, iced::Theme, iced::Renderer> for Tile<'_> {
    fn size(&self) -> Size<Length> {
        Size::new(Length::Fill, Length::Fill)
    }

    fn tag(&self) -> tree::Tag {
        tree::Tag::of::<State>()
    }

    fn state(&self) -> tree::State {
        tree::State::new(State::default())
    }

    fn layout(
        &mut self,
        _tree: &mut Tree,
        _renderer: &iced::Renderer,
        limits: &layout::Limits,
    ) -> layout::Node {
        layout::atomic(limits, Length::Fill, Length::Fill)
    }

    fn update(
        &mut self,
        tree: &mut Tree,
        event: &Event,
        layout: Layout<'_>,
        _cursor: mouse::Cursor,
        renderer: &iced::Renderer,
        _clipboard: &mut dyn Clipboard,
        _shell: &mut Shell<'_, Message>,
        _viewport: &Rectangle,
    ) {
        if !matches!(event, Event::Window(window::Event::RedrawRequested(_))) {
            return;
        }
        let state = tree.state.downcast_mut::<State>();
        let version = self.frames.version();
        if version != state.version || state.frame.is_none() {
            state.version = version;
            state.frame = self.frames.latest();
        }
        if let (iced::Renderer::Secondary(_), Some(frame)) = (renderer, &state.frame) {
            let placement = self.placement(frame, layout.bounds());
            let look = software::Look {
                version: state.version,
                mirrored: self.mirrored,
                radius: self.radius_of(&placement),
                ring: self.ring && placement.fills,
                scale_factor: self.scale_factor,
            };
            state.software.prepare(frame, &placement, look);
        }
    }

    fn draw(
        &self,
        tree: &Tree,
        renderer: &mut iced::Renderer,
        look: &iced::Theme,
        style: &renderer::Style,
        layout: Layout<'_>,
        cursor: mouse::Cursor,
        viewport: &Rectangle,
    ) {
        let state = tree.state.downcast_ref::<State>();
        let Some(frame) = &state.frame else {
            return;
        };
        let placement = self.placement(frame, layout.bounds());
        if !placement.fills {
            let line = if self.ring { theme::RING } else { 0.0 };
            let quad = renderer::Quad {
                bounds: layout.bounds(),
                border: border::rounded(self.radius).width(line).color(theme::RING_COLOR),
                ..renderer::Quad::default()
            };
            renderer.fill_quad(quad, Color::BLACK);
        }
        match renderer {
            iced::Renderer::Primary(_) => {
                // The shader widget draws for us: only it may reach the graphics card.
                let node =
                    layout::Node::new(placement.bounds.size()).move_to(placement.bounds.position());
                let shader = Shader::<Message, _>::new(OnCard { tile: self, placement });
                shader.draw(tree, renderer, look, style, Layout::new(&node), cursor, viewport);
            }
            iced::Renderer::Secondary(_) => state.software.draw(renderer, viewport),
        }
    }
}

/// The tile on the graphics card.
struct OnCard<'a> {
    tile: &'a Tile<'a>,
    placement: Placement,
}

impl<Message> shader::Program<Message> for OnCard<'_> {
    type State = State;
    type Primitive = picture::Picture;

    fn draw(&self, state: &State, _cursor: mouse::Cursor, _bounds: Rectangle) -> picture::Picture {
        picture::Picture {
            tile: state.id,
            version: state.version,
            frame: state.frame.clone().expect("the tile is only drawn when there is a frame"),
            crop: self.placement.crop,
            mirrored: self.tile.mirrored,
            radius: self.tile.radius_of(&self.placement),
            ring: self.tile.ring && self.placement.fills,
        }
    }
}

impl<'a, Message: 'a> From<Tile<'a>> for Element<'a, Message> {
    fn from(tile: Tile<'a>) -> Self {
        Element::new(tile)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::testing;

    const TILE: Rectangle = Rectangle { x: 10.0, y: 20.0, width: 160.0, height: 90.0 };

    #[test]
    fn a_picture_of_the_tiles_shape_is_seen_whole() {
        let placement = Placement::new(Size::new(1280.0, 720.0), TILE, Fill::Cover);
        assert_eq!(placement.bounds, TILE);
        assert!((placement.crop.width - 1.0).abs() < 1e-6 && placement.fills);
    }

    #[test]
    fn a_slightly_different_shape_is_cut_at_its_edges() {
        let placement = Placement::new(Size::new(640.0, 480.0), TILE, Fill::Cover);
        assert_eq!(placement.bounds, TILE);
        assert!((placement.crop.height - 0.75).abs() < 1e-3);
        assert!((placement.crop.y - 0.125).abs() < 1e-3);
    }

    #[test]
    fn a_portrait_picture_and_a_screen_are_shown_whole() {
        for (picture, fill) in
            [(Size::new(720.0, 1280.0), Fill::Cover), (Size::new(1920.0, 1200.0), Fill::Contain)]
        {
            let placement = Placement::new(picture, TILE, fill);
            assert_eq!(placement.crop.size(), Size::new(1.0, 1.0));
            assert!(!placement.fills && placement.bounds.width < TILE.width);
            assert!((placement.bounds.center_x() - TILE.center_x()).abs() < 0.01);
        }
    }

    fn drawn(frame: Frame, mirrored: bool, scale: f32, backend: &str) -> image::RgbaImage {
        let slot = Slot::new();
        slot.put(frame);
        let tile = tile(&slot).radius(12.0).mirrored(mirrored).scale_factor(scale);
        let element: Element<'_, ()> = tile.into();
        testing::drawn(element, &theme::dark(), Size::new(160.0, 90.0), scale, backend)
    }

    fn check_colors(backend: &str) {
        let background = theme::DARK.background.into_rgba8();
        for (yuv, rgb) in [
            ([81, 90, 240], [255, 0, 0]),
            ([145, 54, 34], [0, 255, 0]),
            ([41, 240, 110], [0, 0, 255]),
            ([235, 128, 128], [255, 255, 255]),
            ([126, 128, 128], [128, 128, 128]),
        ] {
            let frame = Frame::filled(320, 180, Instant::now(), yuv);
            let pixels = drawn(frame, false, 1.5, backend);
            for (x, y) in [(120, 70), (1, 70), (238, 70), (120, 1), (120, 133)] {
                let found = pixels.get_pixel(x, y).0;
                let near = found.iter().zip(rgb).all(|(is, want)| is.abs_diff(want) <= 4);
                assert!(near, "{backend}: {found:?} at {x}, {y} is not {rgb:?}");
            }
            for (x, y) in [(0, 0), (239, 0), (0, 134), (239, 134)] {
                assert_eq!(pixels.get_pixel(x, y).0, background, "{backend}: round corners");
            }
        }
    }

    /// The counter's blocks stand in the picture's upper left corner: all white or all black.
    fn check_sides(backend: &str) {
        for (counter, scale, mirrored) in
            [(u32::MAX, 1.0, false), (0, 1.0, false), (u32::MAX, 2.0, true), (0, 1.25, true)]
        {
            let frame = media::pattern::draw(320, 180, counter, "", Instant::now());
            let pixels = drawn(frame, mirrored, scale, backend);
            let x = if mirrored { 160.0 - 13.0 } else { 13.0 };
            let pixel = pixels.get_pixel((x * scale) as u32, (8.0 * scale) as u32).0;
            let wanted = if counter == 0 { 0 } else { 255 };
            assert!(pixel[0].abs_diff(wanted) <= 12, "{backend}, mirrored {mirrored}: {pixel:?}");
        }
    }

    fn check_ring(backend: &str) {
        let slot = Slot::new();
        slot.put(Frame::filled(320, 180, Instant::now(), [126, 128, 128]));
        for (ring, scale) in [(true, 1.0), (true, 2.0), (false, 1.0)] {
            let tile = tile(&slot).radius(12.0).ring(ring).scale_factor(scale);
            let element: Element<'_, ()> = tile.into();
            let size = Size::new(160.0, 90.0);
            let pixels = testing::drawn(element, &theme::dark(), size, scale, backend);
            let at = |x: f32, y: f32| pixels.get_pixel((x * scale) as u32, (y * scale) as u32).0;
            let green = theme::RING_COLOR.into_rgba8();
            // In the middle of each side, and where the arc of a corner crosses its diagonal.
            for (x, y) in [(80.0, 0.5), (80.0, 89.0), (0.5, 45.0), (159.0, 45.0), (4.5, 4.0)] {
                let near = at(x, y).iter().zip(green).all(|(is, want)| is.abs_diff(want) <= 60);
                assert_eq!(near, ring, "{backend}, {scale}: {:?} at {x}, {y}", at(x, y));
            }
            assert!(at(80.0, 4.0)[0].abs_diff(128) <= 4 && at(8.0, 8.0)[0].abs_diff(128) <= 4);
        }
    }

    #[test]
    fn a_new_frame_replaces_the_old_one() {
        let slot = Slot::new();
        let look = |slot: &Slot<Frame>| {
            let element: Element<'_, ()> = tile(slot).into();
            let size = Size::new(32.0, 18.0);
            let pixels = testing::drawn(element, &theme::dark(), size, 1.0, testing::SOFTWARE);
            pixels.get_pixel(16, 9).0[0]
        };
        assert_eq!(look(&slot), theme::DARK.background.into_rgba8()[0], "nothing yet");
        slot.put(Frame::filled(320, 180, Instant::now(), [235, 128, 128]));
        assert!(look(&slot) > 250);
        slot.put(Frame::filled(320, 180, Instant::now(), [16, 128, 128]));
        assert!(look(&slot) < 5);
        slot.clear();
        assert_eq!(look(&slot), theme::DARK.background.into_rgba8()[0], "the picture ended");
    }

    #[test]
    fn the_software_renderer_shows_the_picture() {
        check_colors(testing::SOFTWARE);
        check_sides(testing::SOFTWARE);
        check_ring(testing::SOFTWARE);
    }

    #[test]
    fn a_graphics_card_shows_the_picture() {
        check_colors(testing::CARD);
        check_sides(testing::CARD);
        check_ring(testing::CARD);
    }
}
