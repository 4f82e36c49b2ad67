"""What is measured: pure functions over arrays, with intervals over users. They know no lake and no model."""
