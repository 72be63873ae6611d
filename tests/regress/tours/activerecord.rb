# ActiveRecord: migrations, relations, statements it prepares by itself, and the pg beneath it.
require 'active_record'
require 'pg'

LOGIN = {
  adapter: 'postgresql', host: ENV['PGHOST'], port: ENV['PGPORT'].to_i, username: ENV['PGUSER'],
  password: ENV['PGPASSWORD'], database: ENV['PGDATABASE'], pool: 5, sslmode: 'disable',
  schema_search_path: 'drv_ar,public'
}.freeze

VARIANTS = [
  {}, { prepared_statements: false }, { advisory_locks: false, statement_limit: 3 },
  { variables: { statement_timeout: '30s', work_mem: '7MB' } }
].freeze

$stdout.sync = true
ActiveRecord::Migration.verbose = false

def say(what, *values)
  puts "#{what}: #{values.map(&:inspect).join(' | ')}"
end

def failed(what)
  say(what, 'no error', yield)
rescue StandardError => e
  say(what, e.class, e.message.lines.first)
end

class User < ActiveRecord::Base
  has_many :posts
end

class Post < ActiveRecord::Base
  belongs_to :user
end

class Tables < ActiveRecord::Migration[6.1]
  def change
    create_table :users do |t|
      t.string :name, index: { unique: true }
      t.jsonb :extra
      t.integer :tags, array: true
      t.datetime :at
    end
    create_table :posts do |t|
      t.references :user, foreign_key: true
      t.text :body
    end
  end
end

# One variant, part by part.
class Tour
  PARTS = %i[migrations rows transactions many changes catalog timeouts below].freeze

  def initialize(options)
    ActiveRecord::Base.establish_connection(LOGIN.merge(options))
    @connection = ActiveRecord::Base.connection
    @connection.execute('drop schema if exists drv_ar cascade')
    @connection.execute('create schema drv_ar')
    @connection.schema_search_path = LOGIN[:schema_search_path]
    [User, Post].each(&:reset_column_information)
  end

  def run
    PARTS.each do |part|
      puts "== #{part}"
      send(part)
    rescue StandardError => e
      puts "ENDED #{e.class} #{e.message}", e.backtrace.first(5)
    end
    @connection.execute('drop schema drv_ar cascade')
    ActiveRecord::Base.remove_connection
  end

  def migrations
    say 'work_mem', @connection.select_value('show work_mem')
    ActiveRecord::SchemaMigration.create_table
    tables = ActiveRecord::MigrationProxy.new('Tables', 1, __FILE__, nil)
    # It is in this file already.
    tables.define_singleton_method(:migration) { Tables.new('Tables', 1) }
    migrator = ActiveRecord::Migrator.new(:up, [tables], ActiveRecord::SchemaMigration)
    failed('migrated') { migrator.migrate.size }
    say 'versions', ActiveRecord::SchemaMigration.all_versions
  end

  def rows
    user = User.create!(name: 'a', extra: { x: 1 }, tags: [1, 2], at: Time.at(0))
    user.posts.create!(body: 'hi')
    failed('unique') { User.create!(name: 'a') }
    20.times { |n| User.create!(name: "n#{n}") }
    found = User.where(name: 'a').includes(:posts)
    say 'found', found.map { |each| [each.name, each.extra, each.tags, each.at.to_i, each.posts.size] }
    5.times { |n| say 'again', User.where(name: "n#{n}").first.id, User.find_by(id: n + 4).name }
  end

  def transactions
    failed('nested') do
      User.transaction do
        User.create!(name: 'outer')
        User.transaction(requires_new: true) do
          User.create!(name: 'inner')
          raise ActiveRecord::Rollback
        end
        User.count
      end
    end
    failed('lock') { User.transaction { User.lock.find(1).name } }
    failed('isolation') do
      User.transaction(isolation: :serializable) do
        @connection.select_value('show transaction_isolation')
      end
    end
    failed('advisory') { [@connection.get_advisory_lock(77), @connection.release_advisory_lock(77)] }
  end

  def many
    say 'batches', User.find_each(batch_size: 5).map(&:id).size
    say 'insert_all', User.insert_all((0..300).map { |n| { name: "b#{n}" } }).length
    threads = Array.new(8) do |n|
      Thread.new do
        ActiveRecord::Base.connection_pool.with_connection do
          Array.new(50) { User.order(:id).offset(n).first.name }.uniq
        end
      end
    end
    say 'threads', threads.map(&:value)
  end

  def changes
    User.where(name: 'n1').first
    @connection.add_column :users, :more, :integer, default: 3
    failed('changed') { User.where(name: 'n1').first.name }
    failed('changed') { User.transaction { User.where(name: 'n1').first.name } }
    User.reset_column_information
    say 'columns', User.column_names
    @connection.clear_cache!
    say 'cleared', User.find_by(id: 3).name
    @connection.reset!
    @connection.schema_search_path = LOGIN[:schema_search_path]
    say 'reset', User.count
  end

  def catalog
    say 'tables', @connection.tables.sort
    say 'users', @connection.columns('users').map { |column| [column.name, column.sql_type] }
    say 'indexes', @connection.indexes('users').map { |index| [index.name, index.unique] }
    say 'keys', @connection.foreign_keys('posts').map(&:to_table)
    say 'extensions', @connection.extensions.sort
  end

  def timeouts
    failed('timeout') do
      @connection.execute("set statement_timeout = '100ms'")
      @connection.execute('select pg_sleep(5)')
    end
    @connection.execute('reset statement_timeout')
    say 'alive', @connection.select_value('select 1')
  end

  # What ActiveRecord talks to.
  def below
    raw = @connection.raw_connection
    raw.send_query('select 1; select 2')
    values = []
    while (result = raw.get_result)
      values << result.getvalue(0, 0)
    end
    say 'several', values
    raw.prepare('mine', 'select $1::int + 1')
    say 'prepared', raw.exec_prepared('mine', [4]).getvalue(0, 0), raw.describe_prepared('mine').nparams
    raw.exec('deallocate mine')
    failed('deallocated') { raw.exec_prepared('mine', [4]) }
    raw.copy_data('copy (select generate_series(1, 2)) to stdout') do
      while (row = raw.get_copy_data)
        say 'copy', row
      end
    end
  end
end

VARIANTS.each do |options|
  puts "=== #{options}"
  Tour.new(options).run
end
puts '== end'
