"""What people look at: pictures, terminal tables, plots and the HTML report."""
